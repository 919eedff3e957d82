//! A description of the API, made from the table of routes.
/// Describes the API.
pub fn document() -> String {
    String::new()
}
