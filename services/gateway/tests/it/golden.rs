//! Files that programs outside rely on, compared with what the code says; `BOREALIS_GEN=1` adds one that is missing.

use std::fs;
use std::path::Path;

use borealis_bus_schema::routes;

fn same(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if !path.exists() && std::env::var_os("BOREALIS_GEN").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{name} differs from the code; look at the difference, then remove the file and run `just gen`"
    );
}

#[test]
fn golden_route_matrix() {
    let lines = routes::lines()
        .iter()
        .map(|line| serde_json::to_string(line).unwrap() + "\n")
        .collect::<String>();
    same("routes.jsonl", &lines);
}

#[test]
fn golden_openapi() {
    same("openapi.json", &format!("{}\n", borealis_gateway::openapi()));
}

#[test]
fn the_description_names_every_route() {
    let document: serde_json::Value = serde_json::from_str(&borealis_gateway::openapi()).unwrap();
    for route in routes::ROUTES {
        let operation = &document["paths"][route.path][route.method.to_lowercase()];
        assert_eq!(operation["operationId"], route.verb);
        let is_public = route.need == routes::Need::Public;
        assert_eq!(operation.get("security").is_none(), is_public, "{}", route.path);
    }
}
