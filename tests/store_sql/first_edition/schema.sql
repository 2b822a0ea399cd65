-- The tables of the first edition, version 3 of the schema. Statements end with a semicolon and an empty line.
CREATE TABLE IF NOT EXISTS {p}store (one BIGINT PRIMARY KEY CHECK (one = 1), version BIGINT NOT NULL, born BIGINT
NOT NULL);

INSERT INTO {p}store (one, version, born) VALUES (1, 3, 1000000000) ON CONFLICT (one) DO NOTHING;

CREATE TABLE {p}sessions (session {bytes} PRIMARY KEY, subject {bytes}, session_start BIGINT, head {bytes},
head_until BIGINT, generation BIGINT, chain_until BIGINT, renewed BIGINT, ancestors {bytes}, claims TEXT,
revoked_until BIGINT NOT NULL, revoked_tokens {bytes} NOT NULL, expires BIGINT NOT NULL, stamp BIGINT NOT NULL);

CREATE TABLE {p}subjects (subject {bytes} PRIMARY KEY, instant BIGINT NOT NULL, expires BIGINT NOT NULL);

CREATE INDEX {p}sessions_by_subject ON {p}sessions (subject);

CREATE INDEX {p}sessions_by_expiry ON {p}sessions (expires);

CREATE INDEX {p}subjects_by_expiry ON {p}subjects (expires);

ALTER TABLE {p}sessions ADD COLUMN orphan BIGINT NOT NULL DEFAULT 0;
