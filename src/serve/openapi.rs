//! The API described for programs: OpenAPI 3.1, made from the shapes of the tables, so that it can't
//! say anything else than they do.

use serde_json::{Map, Value, json};

use super::answer::{CellKind, columns};
use super::query::{LIMIT, LIMIT_MAX, Query, VALUES_MAX};
use super::shape::{Kind, Shape, Step, TableId};
use dataflows::model::events::Device;
use dataflows::model::lookups::Model;
use dataflows::model::reject::{Feed, Reason};

/// The document of a server that tells nobody apart, or of one that does.
pub fn document(is_open: bool) -> Value {
    let mut paths = Map::new();
    paths.insert("/session".to_owned(), session());
    paths.insert("/dimensions/{dimension}".to_owned(), dimensions());
    for table in TableId::ALL {
        paths.insert(format!("/tables/{}", table.shape().name), json!({ "get": table_get(table) }));
    }
    paths.insert("/tables/conversion_paths".to_owned(), json!({ "get": paths_get() }));
    paths.insert("/stream".to_owned(), json!({ "get": stream_get() }));
    paths.insert("/operator".to_owned(), json!({ "get": operator_get() }));
    paths.insert("/rejects".to_owned(), json!({ "get": rejects_get() }));
    paths.insert("/openapi.json".to_owned(), json!({ "get": own_get() }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "AdvertiseX",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Campaign numbers as of closed epochs. Money is whole micros of the account's currency, \
                            times are milliseconds since 1970 in UTC.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/api/v1" }],
        "security": if is_open { json!([]) } else { json!([{ "bearer": [] }, { "cookie": [] }]) },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "cookie": { "type": "apiKey", "in": "cookie", "name": "advertisex" },
            },
            "schemas": schemas(),
            "responses": {
                "Error": {
                    "description": "It can't be answered; the message says what to do.",
                    "content": { "application/json": { "schema": reference("Error") } },
                },
            },
        },
    })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn object(properties: Value) -> Value {
    let required: Vec<_> =
        properties.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn millis() -> Value {
    json!({ "type": "integer", "description": "milliseconds since 1970, UTC" })
}

fn or_null(mut schema: Value) -> Value {
    let kind = schema["type"].take();
    schema["type"] = json!([kind, "null"]);
    schema
}

fn schemas() -> Value {
    let mut schemas = Map::new();
    let mut error = object(json!({
        "code": { "type": "string" },
        "message": { "type": "string", "description": "what to do" },
        "parameter": { "type": "string" },
    }));
    error["required"] = json!(["code", "message"]);
    schemas.insert("Error".to_owned(), object(json!({ "error": error })));
    schemas.insert(
        "Frontier".to_owned(),
        object(json!({
            "epoch": { "type": "integer", "minimum": 0, "description": "everything that was read up to this epoch is in the answer" },
            "watermark": or_null(millis()),
            "live_since": or_null(millis()),
            "history_epoch": { "type": ["integer", "null"], "description": "up to which epoch ClickHouse had published, if a part came from there" },
        })),
    );
    for table in TableId::ALL {
        let Shape { name, .. } = table.shape();
        let row = row(table);
        let answer = object(json!({
            "frontier": reference("Frontier"),
            "table": { "const": name },
            "since": or_null(millis()),
            "until": or_null(millis()),
            "step": { "enum": steps(table) },
            "group_by": { "type": "array", "items": { "enum": keys(table) } },
            "total": { "type": "integer", "minimum": 0 },
            "sums": { "type": "object" },
            "rows": { "type": "array", "items": row },
        }));
        schemas.insert((*name).to_owned(), answer);
    }
    schemas.into()
}

fn steps(table: TableId) -> Vec<&'static str> {
    Step::ALL.into_iter().filter(|step| *step >= table.shape().window).map(Step::as_str).collect()
}

fn keys(table: TableId) -> Vec<&'static str> {
    table.shape().keys.iter().map(|key| key.name).collect()
}

/// A row; which columns it has depends on step and grouping.
fn row(table: TableId) -> Value {
    let properties = columns(&Query::everything(table)).into_iter().map(|(name, kind)| {
        let schema = match kind {
            CellKind::Time => millis(),
            CellKind::Text => json!({ "type": "string" }),
            CellKind::Int => json!({ "type": ["integer", "null"] }),
            CellKind::Float => json!({ "type": ["number", "null"] }),
        };
        (name.to_owned(), schema)
    });
    let mut row = object(properties.collect::<Map<_, _>>().into());
    row["required"] = json!(table.shape().measures);
    row
}

fn parameter(name: &str, schema: Value, description: &str) -> Value {
    json!({ "name": name, "in": "query", "required": false, "schema": schema, "description": description })
}

/// Several values are said by several parameters of the same name.
fn repeated(name: &str, item: Value, description: &str) -> Value {
    let schema = json!({ "type": "array", "items": item, "maxItems": VALUES_MAX });
    let mut parameter = parameter(name, schema, description);
    parameter["style"] = "form".into();
    parameter["explode"] = true.into();
    parameter
}

fn range() -> [Value; 2] {
    let moment = || json!({ "anyOf": [{ "type": "integer", "format": "int64", "minimum": i64::MIN, "maximum": i64::MAX }, { "type": "string", "format": "date-time" }] });
    [
        parameter("since", moment(), "windows that begin at this moment or later"),
        parameter("until", moment(), "windows that begin before this moment"),
    ]
}

fn page() -> [Value; 2] {
    let most = json!({ "type": "integer", "minimum": 0, "maximum": LIMIT_MAX, "default": LIMIT });
    let offset = json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX, "default": 0 });
    [parameter("limit", most, "rows of the answer"), parameter("offset", offset, "rows left out before them")]
}

fn value_of(kind: Kind) -> Value {
    match kind {
        Kind::Named(_) => json!({ "type": "string" }),
        Kind::Country => json!({ "type": "string", "pattern": "^([A-Za-z]{2})?$" }),
        Kind::Device => json!({ "enum": Device::ALL.map(Device::as_str) }),
        Kind::Model => json!({ "enum": Model::ALL.map(Model::as_str) }),
        Kind::Feed => json!({ "enum": Feed::ALL.map(Feed::as_str) }),
    }
}

fn answers(schema: Value, description: &str) -> Value {
    let mut answers = Map::new();
    let good = json!({ "description": description, "content": { "application/json": { "schema": schema } } });
    answers.insert("200".to_owned(), good);
    for status in ["400", "401", "403", "422", "429", "503"] {
        answers.insert(status.to_owned(), json!({ "$ref": "#/components/responses/Error" }));
    }
    answers.insert("414".to_owned(), json!({ "description": "the address is too long" }));
    answers.into()
}

fn table_get(table: TableId) -> Value {
    let Shape { name, keys: key_columns, .. } = table.shape();
    let mut parameters = range().to_vec();
    parameters.push(parameter("step", json!({ "enum": steps(table) }), "what a row covers"));
    let group_by = json!({ "type": "array", "items": { "enum": keys(table) } });
    let mut grouping = parameter("group_by", group_by, "key columns that stay apart; all, if not said");
    (grouping["style"], grouping["explode"]) = ("form".into(), false.into());
    parameters.push(grouping);
    for key in *key_columns {
        parameters.push(repeated(key.name, value_of(key.kind), "only these values"));
    }
    if table.has_campaigns() {
        let advertiser = json!({ "type": "string" });
        parameters.push(repeated("advertiser_id", advertiser, "only campaigns of these advertisers"));
    }
    let names = columns(&Query::everything(table)).into_iter().map(|(name, _)| name);
    let orders: Vec<_> = names.flat_map(|name| [name.to_owned(), format!("-{name}")]).collect();
    let sort = json!({ "type": "array", "items": { "enum": orders } });
    let mut sorting = parameter("sort", sort, "columns; - before a name: the greatest first");
    (sorting["style"], sorting["explode"]) = ("form".into(), false.into());
    parameters.push(sorting);
    parameters.extend(page());
    let format = json!({ "enum": ["json", "csv", "parquet"], "default": "json" });
    parameters.push(parameter("format", format, "what the answer is written as"));
    let mut answers = answers(reference(name), "the rows, and what they are true at");
    answers["200"]["content"]["text/csv"] = json!({ "schema": { "type": "string" } });
    answers["200"]["content"]["application/vnd.apache.parquet"] = json!({});
    json!({ "operationId": name, "summary": format!("The table {name}"), "parameters": parameters, "responses": answers })
}

fn session() -> Value {
    let shown = object(json!({
        "name": { "type": "string" },
        "role": { "enum": ["viewer", "analyst", "operator", "admin"] },
        "advertisers": { "type": ["array", "null"], "items": { "type": "string" } },
        "currency": { "type": "string" },
        "job": { "type": "string" },
        "version": { "type": "string" },
        "now": millis(),
        "sign_in": { "type": "boolean" },
        "frontier": reference("Frontier"),
    }));
    let token = object(json!({ "token": { "type": "string", "pattern": "^[!-+\\--:<-~]+$" } }));
    let refused = json!({ "$ref": "#/components/responses/Error" });
    json!({
        "get": { "operationId": "session", "summary": "Who is signed in", "responses": answers(shown, "the session") },
        "post": {
            "operationId": "sign_in",
            "summary": "Signs a browser in",
            "security": [],
            "requestBody": { "required": true, "content": { "application/json": { "schema": token } } },
            "responses": {
                "204": { "description": "a cookie is set" },
                "400": refused, "401": refused, "413": { "description": "the body is too large" }, "429": refused,
            },
        },
        "delete": {
            "operationId": "sign_out", "summary": "Signs a browser out", "security": [],
            "responses": { "204": { "description": "the cookie is gone" } },
        },
    })
}

fn dimensions() -> Value {
    let rows = json!({ "type": "array", "items": { "type": "object", "additionalProperties": { "type": "string" } } });
    let shown = object(json!({ "frontier": reference("Frontier"), "rows": rows }));
    let which = json!({
        "name": "dimension", "in": "path", "required": true,
        "schema": { "enum": ["campaign", "advertiser", "creative", "site"] },
    });
    let mut answers = answers(shown, "ids and their attributes");
    answers["404"] = json!({ "$ref": "#/components/responses/Error" });
    json!({ "get": {
        "operationId": "dimension", "summary": "What ids stand for", "parameters": [which],
        "responses": answers,
    } })
}

fn paths_get() -> Value {
    let by_model = || {
        let models = Model::ALL.map(|model| (model.as_str().to_owned(), json!({ "type": "integer" })));
        object(models.into_iter().collect::<Map<_, _>>().into())
    };
    let touch = object(json!({
        "touch_id": { "type": "string" }, "kind": { "enum": ["click", "view"] }, "time": millis(),
        "campaign_id": { "type": "string" }, "credit_micros": by_model(), "revenue_micros": by_model(),
    }));
    let path = object(json!({
        "time": millis(), "conversion_id": { "type": "string" }, "touches": { "type": "array", "items": touch },
    }));
    let shown = object(json!({
        "frontier": reference("Frontier"), "table": { "const": "conversion_paths" },
        "total": { "type": "integer" }, "rows": { "type": "array", "items": path },
    }));
    let text = || json!({ "type": "string" });
    let mut parameters = range().to_vec();
    parameters.push(repeated("campaign_id", text(), "a touch of one of these is on the path"));
    parameters.push(repeated("advertiser_id", text(), "of these advertisers"));
    parameters.push(parameter("conversion_id", text(), "of this conversion"));
    parameters.push(parameter(
        "sort",
        json!({ "enum": ["time", "-time"] }),
        "the oldest or the newest first",
    ));
    parameters.extend(page());
    json!({
        "operationId": "conversion_paths", "summary": "The paths of the latest conversions",
        "parameters": parameters, "responses": answers(shown, "paths, and what they are true at"),
    })
}

fn stream_get() -> Value {
    let mut answers = answers(json!({}), "");
    answers["200"] = json!({
        "description": "events `snapshot`, `change` and `frontier`: what came before a frontier is true at it",
        "content": { "text/event-stream": { "schema": { "type": "string" } } },
    });
    let question = json!({ "type": "string", "pattern": "^[a-z_]+(\\?.*)?$" });
    let mut questions =
        repeated("q", question, "a table and its parameters, as in performance_minute?group_by=");
    questions["schema"]["maxItems"] = 16.into();
    questions["schema"]["minItems"] = 1.into();
    questions["required"] = true.into();
    json!({
        "operationId": "stream", "summary": "Answers that are kept true", "parameters": [questions],
        "responses": answers,
    })
}

fn operator_get() -> Value {
    json!({
        "operationId": "operator", "summary": "How the run goes",
        "responses": answers(json!({ "type": "object" }), "rates, lags, sizes and health"),
    })
}

fn rejects_get() -> Value {
    let parameters = [
        parameter("feed", json!({ "enum": Feed::ALL.map(Feed::as_str) }), "of this feed"),
        parameter("reason", json!({ "enum": Reason::ALL.map(Reason::as_str) }), "for this reason"),
        parameter("limit", json!({ "type": "integer", "minimum": 0, "maximum": 200 }), "rows of the answer"),
    ];
    let rows = json!({ "type": "array", "items": { "type": "object" } });
    json!({
        "operationId": "rejects", "summary": "The latest rejected records", "parameters": parameters,
        "responses": answers(object(json!({ "rows": rows })), "records, the newest first"),
    })
}

fn own_get() -> Value {
    json!({
        "operationId": "openapi", "summary": "This document",
        "responses": answers(json!({ "type": "object" }), "OpenAPI 3.1"),
    })
}
