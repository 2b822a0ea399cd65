//! The manual's page, by its sections.

use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::Value;

pub const PAGE: &str = include_str!("../../src/manual/deploying.md");

/// A fenced block of a manifest. Its first line is a comment that says what it is.
pub struct Block {
    pub name: String,
    pub text: String,
}

/// The manifests under a heading.
pub fn section(title: &str) -> Vec<Block> {
    let heading = format!("## {title}");
    let (mut is_in_section, mut block, mut blocks) = (false, None::<String>, Vec::new());
    for line in PAGE.lines() {
        match (&mut block, line.strip_prefix("```")) {
            (Some(_), Some(_)) => blocks.extend(block.take().filter(|_| is_in_section)),
            (Some(text), None) => text.extend([line, "\n"]),
            (None, Some(_)) => block = Some(String::new()),
            (None, None) if line.starts_with('#') => is_in_section = line == heading,
            (None, None) => {}
        }
    }
    assert!(!blocks.is_empty(), "no manifest under {title:?}");
    let named = |text: String| {
        let name =
            text.lines().next().unwrap().strip_prefix("# ").expect("a comment that names it").to_owned();
        Block { name, text }
    };
    blocks.into_iter().map(named).collect()
}

/// The one manifest of this name under a heading.
pub fn block(title: &str, name: &str) -> Block {
    let mut found = section(title).into_iter().filter(|block| block.name == name);
    let first = found.next().unwrap_or_else(|| panic!("no {name:?} under {title:?}"));
    assert!(found.next().is_none(), "{name:?} twice under {title:?}");
    first
}

impl Block {
    pub fn documents(&self) -> Vec<Value> {
        let documents =
            Yaml::load_from_str(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        documents.into_iter().map(json).collect()
    }

    pub fn document(&self) -> Value {
        let mut documents = self.documents();
        assert_eq!(documents.len(), 1, "{}", self.name);
        documents.remove(0)
    }
}

fn json(node: Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => value.into(),
        Yaml::Value(Scalar::Integer(value)) => value.into(),
        Yaml::Value(Scalar::String(text)) => text.into(),
        Yaml::Sequence(entries) => entries.into_iter().map(json).collect(),
        Yaml::Mapping(entries) => entries
            .into_iter()
            .map(|(name, value)| (name.as_str().expect("a name").to_owned(), json(value)))
            .collect(),
        other => panic!("{other:?} has no place in a manifest"),
    }
}
