//! What holds for every endpoint alike, written into the document in one place: an endpoint's own attributes name only
//! what is its own.

use shared::problem::Problem;
use utoipa::{
    PartialSchema as _, ToSchema as _,
    openapi::{
        Content, Header, OpenApi, PathItem, Ref, RefOr, Response, ResponseBuilder,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::{Object, Schema, SchemaType, Type},
    },
};

use crate::{problem::PROBLEM_JSON, rates::is_exempt};

/// Adds to each operation the answers and header fields that it shares with others.
pub fn complete(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        // Health checks are answered however often they are asked.
        let is_counted = !is_exempt(path);
        for operation in operations(item) {
            answers((path.starts_with("/api/"), is_counted), operation);
            request_id(operation);
            never_null(operation);
            fields(is_counted, operation);
        }
    }
}

/// Every operation of a path.
fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let known = [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete];
    known.into_iter().flatten()
}

/// What is answered before, or in spite of, the endpoint.
fn answers((is_api, is_counted): (bool, bool), operation: &mut Operation) {
    let with_body = operation.request_body.is_some();
    for (status, description, applies) in [
        ("401", "No valid token", is_api),
        ("403", "The token does not permit this", is_api),
        ("406", "Accept excludes what is answered", is_api),
        ("408", "The body came too slowly", with_body),
        ("413", "Body over 64 KiB", with_body),
        ("415", "Not the documented content type", with_body),
        ("429", "Too many requests with this token, or from this address", is_counted),
        ("500", "Something broke on our side", is_api),
        ("503", "Our database is away", is_api),
    ] {
        let known = &mut operation.responses.responses;
        if applies && !known.contains_key(status) {
            known.insert(status.to_owned(), RefOr::T(problem(description)));
        }
    }
}

fn problem(description: &str) -> Response {
    let schema = Ref::from_schema_name(Problem::name());
    ResponseBuilder::new().description(description).content(PROBLEM_JSON, Content::new(Some(schema))).build()
}

fn request_id(operation: &mut Operation) {
    let parameter: Parameter = ParameterBuilder::new()
        .name("X-Request-Id")
        .parameter_in(ParameterIn::Header)
        .description(Some("1 to 128 visible ASCII characters; anything else is replaced by an id of ours"))
        .schema(Some(String::schema()))
        .build();
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
}

/// A parameter is sent or not; there is no null in a query or a header field.
fn never_null(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(Parameter { schema: Some(RefOr::T(Schema::Object(object))), .. }) = parameter
            && let SchemaType::Array(types) = &object.schema_type
            && let [only, Type::Null] = &types[..]
        {
            object.schema_type = SchemaType::Type(only.clone());
        }
    }
}

/// Header fields of the answers.
fn fields(is_counted: bool, operation: &mut Operation) {
    let has = |name: &str| {
        operation.parameters.iter().flatten().any(|parameter| match parameter {
            RefOr::T(parameter) => parameter.name == name,
            RefOr::Ref(_) => false,
        })
    };
    let (prefers, reads) = (has("Prefer"), operation.request_body.is_none() && has("If-None-Match"));
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        let mut field = |name: &str, description: &str| {
            if !response.headers.contains_key(name) {
                response.headers.insert(name.to_owned(), RefOr::T(header(description)));
            }
        };
        field("X-Request-Id", "The id of the request, as in the log");
        if is_counted {
            field(
                "RateLimit",
                "How the token and the address stand: `r` requests are left, whole again in `t` seconds",
            );
            field("RateLimit-Policy", "What the token and the address may: `q` requests in `w` seconds");
        }
        match status.as_str() {
            "401" => field("WWW-Authenticate", "`Bearer`"),
            "408" => field("Connection", "`close`"),
            "409" => {
                field("Location", "The operation that is still running");
                field("Retry-After", "Seconds");
            }
            "429" => field("Retry-After", "Seconds until the next request is let through"),
            "412" => field("ETag", "The revision that the gateway has"),
            "304" if reads => field("ETag", "The revision"),
            "503" => field("Retry-After", "Seconds, where our own database is away"),
            _ => {}
        }
        if prefers && ["200", "202", "409", "502", "503"].contains(&status.as_str()) {
            field("Preference-Applied", "What was done of `Prefer`");
        }
    }
}

fn header(description: &str) -> Header {
    let mut header = Header::new(Object::with_type(Type::String));
    header.description = Some(description.to_owned());
    header
}
