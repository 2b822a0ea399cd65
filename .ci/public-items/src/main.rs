//! Lists from rustdoc's JSON, for `.ci/api`:
//!
//! * `public-items items FULL.json`: the public items, with `Send` and `Sync` of each type.
//! * `public-items external LEAST.json FULL.json`: the types and traits of other crates, the standard library's apart, that
//!   public items name. What only FULL has is marked, for it takes a feature.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::File;
use std::io::BufReader;

use serde_json::Value;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["items", full] => print_items(full),
        ["external", least, full] => {
            let least = external(least)?;
            for name in external(full)? {
                println!("{name}{}", if least.contains(&name) { "" } else { "  (with a feature)" });
            }
            Ok(())
        }
        _ => Err("public-items items FULL.json | external LEAST.json FULL.json".into()),
    }
}

fn print_items(file: &str) -> Outcome<()> {
    let api = public_api::Builder::from_rustdoc_json(file).omit_blanket_impls(true).build()?;
    for item in api.items().map(ToString::to_string).filter(|item| !is_noise(item)) {
        println!("{item}");
    }
    Ok(())
}

/// Impls of auto traits, but for those that users build on.
fn is_noise(item: &str) -> bool {
    let of_marker = item.split_once("core::marker::").filter(|(before, _)| before.starts_with("impl"));
    let named = of_marker.and_then(|(_, after)| after.split_once(" for ")).map(|(name, _)| name);
    named.is_some_and(|name| !["Send", "Sync", "Copy"].contains(&name))
        || item.contains("core::panic::unwind_safe::")
}

fn external(file: &str) -> Outcome<BTreeSet<String>> {
    let json: Value = serde_json::from_reader(BufReader::new(File::open(file)?))?;
    let items = json["index"].as_object().ok_or("no index")?.values();
    let mut names = BTreeSet::new();
    // rustdoc has left out what can't be reached.
    for item in items.filter(|item| item["crate_id"] == 0 && is_written(item)) {
        collect(&item["inner"], &json, &mut names);
    }
    Ok(names)
}

/// Not an impl that the compiler makes for every type.
fn is_written(item: &Value) -> bool {
    let of_impl = &item["inner"]["impl"];
    of_impl["is_synthetic"] != true && of_impl["blanket_impl"].is_null()
}

/// A mention is an object with an id, and a path or, in a re-export, a source.
fn collect(value: &Value, json: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Array(parts) => parts.iter().for_each(|part| collect(part, json, names)),
        Value::Object(parts) => {
            if let (Some(id), true) =
                (parts.get("id"), parts.contains_key("path") || parts.contains_key("source"))
            {
                names.extend(named_elsewhere(&json["paths"][id.to_string()], json));
            }
            parts.values().for_each(|part| collect(part, json, names));
        }
        _ => {}
    }
}

fn named_elsewhere(summary: &Value, json: &Value) -> Option<String> {
    let crate_id = summary["crate_id"].as_u64().filter(|id| *id != 0)?;
    let crate_name = json["external_crates"][crate_id.to_string()]["name"].as_str()?;
    let path: Vec<&str> = summary["path"].as_array()?.iter().filter_map(Value::as_str).collect();
    // A macro's own affair is nothing that users name.
    let is_named = !["std", "core", "alloc"].contains(&crate_name) && !path.contains(&"__private");
    is_named.then(|| path.join("::"))
}
