//! Layers point down only, and peers never import each other.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Bottom up; modules of one row are peers.
const LAYERS: [&[&str]; 8] = [
    &["domain"],
    &["config", "crypto", "telemetry", "coherence"],
    &["store", "cache"],
    &["feed"],
    &["service"],
    &["http"],
    &["app"],
    &["cli"],
];

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The top-level modules that this source names by `crate::`, in a `use` or in a path.
fn imports(source: &str) -> Vec<String> {
    let code: String = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = code[at + "crate::".len()..].trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            // use crate::{a::b, c}: every name at depth 0 of the braces.
            let (mut depth, mut name) = (0_i32, String::new());
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(std::mem::take(&mut name)),
                    c if depth == 0 && !c.is_whitespace() => name.push(c),
                    _ => {}
                }
            }
            found.push(name);
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    let top = |name: String| name.split("::").next().unwrap_or_default().to_owned();
    found.into_iter().map(top).filter(|name| !name.is_empty()).collect()
}

pub(crate) fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn violations(module: &str, source: &str) -> Vec<String> {
    let own = rank(module).unwrap_or_else(|| panic!("{module} is in no layer"));
    let wrong = |other: &String| other != module && rank(other).is_none_or(|rank| rank >= own);
    imports(source).into_iter().filter(wrong).collect()
}

#[test]
fn imports_point_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut wrong, mut edges) = (Vec::new(), Vec::new(), 0);
    sources(&root, &mut files);
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let module = relative.iter().next().unwrap().to_string_lossy().into_owned();
        if relative.iter().count() == 1 {
            continue; // lib.rs and main.rs see everything
        }
        let source = fs::read_to_string(&file).unwrap();
        edges += imports(&source).len();
        wrong.extend(
            violations(&module, &source)
                .into_iter()
                .map(|to| format!("{}: {to}", relative.display())),
        );
    }
    assert!(edges > 50, "the parser finds the imports: {edges}");
    assert!(wrong.is_empty(), "upward or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn the_check_itself_finds_violations() {
    let cases = BTreeMap::from([
        ("use crate::feed::Applier;", true),
        ("use crate::{domain::Tenant, cache::{L1, Tiered}};", true),
        ("fn f() -> crate::http::Router {}", true),
        ("use crate::domain::{Tenant, CacheKey};", false),
        ("use crate::{domain, coherence::Epoch};", false),
        ("// use crate::http;", false),
        ("use crate::store::row;", false),
        ("use crate::unknown::X;", true),
    ]);
    for (source, wrong) in cases {
        assert_eq!(!violations("store", source).is_empty(), wrong, "{source}");
    }
}
