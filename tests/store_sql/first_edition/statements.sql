-- Each statement of the first edition, but for `SELECT version FROM {p}store`, by which it refuses a newer schema.
-- SQLite has no pg_notify: the last two are PostgreSQL's alone.
SELECT m.born, t.instant, t.expires AS subject_expires, s.stamp, s.subject, s.session_start, s.head, s.head_until,
s.generation, s.chain_until, s.renewed, s.ancestors, s.revoked_until, s.revoked_tokens, s.orphan, s.claims AS claims
FROM {p}store m LEFT JOIN {p}sessions s ON s.session = $1 LEFT JOIN {p}subjects t ON t.subject = $2 WHERE m.one = 1;

SELECT m.born, t.instant, t.expires AS subject_expires, s.stamp, s.subject, s.session_start, s.head, s.head_until,
s.generation, s.chain_until, s.renewed, s.ancestors, s.revoked_until, s.revoked_tokens, s.orphan, CAST('' AS TEXT)
AS claims FROM {p}store m LEFT JOIN {p}sessions s ON s.session = $1 LEFT JOIN {p}subjects t ON t.subject = $2 WHERE
m.one = 1;

INSERT INTO {p}sessions AS s (session, subject, session_start, head, head_until, generation, chain_until, renewed,
ancestors, claims, revoked_until, revoked_tokens, expires, stamp, orphan) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9,
$10, $11, $12, $13, $14, $19 FROM {p}store m WHERE m.one = 1 AND m.born = $20 AND NOT EXISTS (SELECT 1 FROM
{p}subjects t WHERE t.subject = $15 AND t.expires > $16 AND t.instant >= $17) ON CONFLICT (session) DO UPDATE SET
subject = excluded.subject, session_start = excluded.session_start, head = excluded.head, head_until =
excluded.head_until, generation = excluded.generation, chain_until = excluded.chain_until, renewed =
excluded.renewed, ancestors = excluded.ancestors, claims = excluded.claims, revoked_until = excluded.revoked_until,
revoked_tokens = excluded.revoked_tokens, expires = excluded.expires, stamp = excluded.stamp, orphan =
excluded.orphan WHERE s.stamp = $18;

INSERT INTO {p}subjects AS t (subject, instant, expires) VALUES ($1, $2, $3) ON CONFLICT (subject) DO UPDATE SET
instant = CASE WHEN t.expires > $4 AND t.instant > excluded.instant THEN t.instant ELSE excluded.instant END,
expires = CASE WHEN t.expires > excluded.expires THEN t.expires ELSE excluded.expires END;

SELECT s.session, s.session_start, s.renewed, s.claims FROM {p}sessions s WHERE s.subject = $1 AND s.head IS NOT
NULL AND s.chain_until > $2 AND s.revoked_until <= $2 AND NOT EXISTS (SELECT 1 FROM {p}subjects t WHERE t.subject =
$1 AND t.expires > $2 AND t.instant >= s.session_start);

DELETE FROM {p}sessions WHERE session IN (SELECT session FROM {p}sessions WHERE expires <= $1 AND expires <= {clock}
ORDER BY expires LIMIT $2{skip_locked}) AND expires <= $1 AND expires <= {clock};

DELETE FROM {p}subjects WHERE subject IN (SELECT subject FROM {p}subjects WHERE expires <= $1 AND expires <= {clock}
ORDER BY expires LIMIT $2{skip_locked}) AND expires <= $1 AND expires <= {clock};

WITH written AS (INSERT INTO {p}sessions AS s (session, subject, session_start, head, head_until, generation,
chain_until, renewed, ancestors, claims, revoked_until, revoked_tokens, expires, stamp, orphan) SELECT $1, $2, $3,
$4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $19 FROM {p}store m WHERE m.one = 1 AND m.born = $20 AND NOT EXISTS
(SELECT 1 FROM {p}subjects t WHERE t.subject = $15 AND t.expires > $16 AND t.instant >= $17) ON CONFLICT (session)
DO UPDATE SET subject = excluded.subject, session_start = excluded.session_start, head = excluded.head, head_until =
excluded.head_until, generation = excluded.generation, chain_until = excluded.chain_until, renewed =
excluded.renewed, ancestors = excluded.ancestors, claims = excluded.claims, revoked_until = excluded.revoked_until,
revoked_tokens = excluded.revoked_tokens, expires = excluded.expires, stamp = excluded.stamp, orphan =
excluded.orphan WHERE s.stamp = $18 RETURNING 1) SELECT pg_notify($21, $22) FROM written;

WITH written AS (INSERT INTO {p}subjects AS t (subject, instant, expires) VALUES ($1, $2, $3) ON CONFLICT (subject)
DO UPDATE SET instant = CASE WHEN t.expires > $4 AND t.instant > excluded.instant THEN t.instant ELSE
excluded.instant END, expires = CASE WHEN t.expires > excluded.expires THEN t.expires ELSE excluded.expires END
RETURNING 1) SELECT pg_notify($5, $6) FROM written;
