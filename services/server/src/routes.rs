//! Every route with the right it needs.

use borealis_bus_schema::routes;

use crate::{error::ServerError, screen};

/// Prints the table of routes.
///
/// Errors: none in practice; a line that is no JSON.
pub fn print(json: bool) -> Result<(), ServerError> {
    for line in routes::lines() {
        let value = serde_json::to_value(&line).map_err(|error| ServerError::Failed(error.to_string()))?;
        if json {
            screen::tell(&value, &[]);
            continue;
        }
        let text = |name: &str| {
            value
                .get(name)
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let what = match value.get("path").and_then(serde_json::Value::as_str) {
            Some(path) => format!("{} {path}", text("method")),
            None => format!("{}.{}", text("service"), text("verb")),
        };
        let right = match (text("right"), value.get("public")) {
            (_, Some(serde_json::Value::Bool(true))) => "public".to_owned(),
            (right, _) if right.is_empty() => "-".to_owned(),
            (right, _) => right,
        };
        let proof = match value.get("step_up") {
            Some(serde_json::Value::Bool(true)) => " + step-up",
            _ => "",
        };
        screen::line(&format!("{:<5} {what:<60} {right}{proof}", text("kind")));
    }
    Ok(())
}
