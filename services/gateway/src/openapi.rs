//! The description of the API, made from the table of routes and locked by `openapi.json`.

mod schemas;

use borealis_bus_schema::operator::{IDEMPOTENCY_HEADER, SIGNATURE_HEADER};
use borealis_bus_schema::routes::{Need, OWN_ROUTES, OwnRoute, ROUTES, Route};
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, OpenApiBuilder, PathItem, Paths, Ref, Required,
    ResponseBuilder, Schema,
};

/// Names the way in which a request proves who sends it.
const BISCUIT: &str = "biscuit";

/// Describes the API as JSON.
pub fn document() -> String {
    let mut paths = Paths::new();
    for route in ROUTES {
        add(&mut paths, route.path, route.method, operation(route));
    }
    for route in OWN_ROUTES
        .iter()
        .filter(|route| route.method == "GET" && route.path != "/")
    {
        add(&mut paths, route.path, route.method, own_operation(route));
    }
    let mut components = ComponentsBuilder::new().security_scheme(
        BISCUIT,
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("biscuit")
                .description(Some("The session's biscuit; browsers send it as a cookie"))
                .build(),
        ),
    );
    for (name, schema) in schemas::all() {
        components = components.schema(name, schema);
    }
    let info = InfoBuilder::new()
        .title("Borealis")
        .version("v1")
        .description(Some(
            "The operators' and devices' HTTP API. Whatever changes anything is signed by the session key.",
        ))
        .build();
    let document = OpenApiBuilder::new()
        .info(info)
        .paths(paths)
        .components(Some(components.build()))
        .build();
    document.to_pretty_json().unwrap_or_default()
}

fn add(paths: &mut Paths, path: &str, method: &str, operation: OperationBuilder) {
    let method = if method == "POST" {
        HttpMethod::Post
    } else {
        HttpMethod::Get
    };
    let item = PathItem::new(method, operation.build());
    match paths.paths.get_mut(path) {
        Some(known) => known.merge_operations(item),
        None => {
            paths.paths.insert(path.to_owned(), item);
        }
    }
}

fn own_operation(route: &OwnRoute) -> OperationBuilder {
    let name = route
        .path
        .trim_start_matches("/api/v1/")
        .trim_start_matches('/')
        .replace('/', "-");
    let mut answer = ResponseBuilder::new().description("The answer");
    if let Some(shape) = schemas::answer_of_own(route.path) {
        answer = answer.content("application/json", content(Some(shape)));
    }
    let mut operation = OperationBuilder::new()
        .summary(Some(route.summary))
        .operation_id(Some(name))
        .response("200", answer);
    if let Need::Right(right) = route.need {
        let problem = ResponseBuilder::new()
            .description("An error with its stable code")
            .content("application/problem+json", content(Some("Problem")));
        operation = operation
            .description(Some(format!("Needs the right `{}`.", right.as_str())))
            .security(SecurityRequirement::new(BISCUIT, Vec::<String>::new()))
            .response("default", problem);
    }
    for (name, what) in schemas::query_of_own(route.path) {
        operation = operation.parameter(parameter(name, ParameterIn::Query, Required::False, what));
    }
    operation
}

fn operation(route: &Route) -> OperationBuilder {
    let answer = ResponseBuilder::new()
        .description("The answer")
        .content("application/json", content(schemas::answer_of(route.verb)));
    let problem = ResponseBuilder::new()
        .description("An error with its stable code")
        .content("application/problem+json", content(Some("Problem")));
    let mut operation = OperationBuilder::new()
        .summary(Some(route.summary))
        .operation_id(Some(route.verb))
        .tag(route.service.name())
        .response("200", answer)
        .response("default", problem);
    let needs = match route.need {
        Need::Right(right) => Some(format!("Needs the right `{}`.", right.as_str())),
        Need::Public | Need::Session => None,
    };
    let proof = route
        .step_up
        .then(|| "Needs a proof of the password of the last ten minutes.".to_owned());
    let needs: Vec<String> = needs.into_iter().chain(proof).collect();
    if !needs.is_empty() {
        operation = operation.description(Some(needs.join(" ")));
    }
    if route.need != Need::Public {
        operation = operation.security(SecurityRequirement::new(BISCUIT, Vec::<String>::new()));
    }
    if route.path.contains("{id}") {
        operation = operation.parameter(parameter("id", ParameterIn::Path, Required::True, "Which"));
    }
    for (name, what) in schemas::query_of(route.verb) {
        operation = operation.parameter(parameter(name, ParameterIn::Query, Required::False, what));
    }
    if route.changes {
        let command = "The command's id, 32 hex digits; the same id with the same body is the same command";
        let signature = "The session key's signature: `v1 <session id> <issued at> <signature>`";
        operation = operation
            .parameter(parameter(
                IDEMPOTENCY_HEADER,
                ParameterIn::Header,
                Required::True,
                command,
            ))
            .parameter(parameter(
                SIGNATURE_HEADER,
                ParameterIn::Header,
                Required::True,
                signature,
            ));
    }
    if route.method == "POST" {
        let body = RequestBodyBuilder::new()
            .content("application/json", content(schemas::body_of(route.verb)))
            .build();
        operation = operation.request_body(Some(body));
    }
    operation
}

fn content(schema: Option<&str>) -> utoipa::openapi::Content {
    match schema {
        Some(name) => ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).build(),
        None => ContentBuilder::new()
            .schema(Some(Schema::Object(Object::with_type(SchemaType::new(Type::Object)))))
            .build(),
    }
}

fn parameter(name: &str, place: ParameterIn, required: Required, what: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(what))
        .schema(Some(Object::with_type(SchemaType::new(Type::String))))
        .build()
}
