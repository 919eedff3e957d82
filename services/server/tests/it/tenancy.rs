//! Each route, asked by each kind of token for an object of one site, of another, and for one that is not there; compared with
//! `tests/tenancy.tsv`. A route that the file does not list fails.
//!
//! North reaches the site berlin with every right that a site can bound, south the site default. What is foreign is answered
//! word for word like what is missing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use borealis_bus_schema::ids::CommandId;
use borealis_bus_schema::installer_code::InstallerCode;
use borealis_bus_schema::operator::{IDEMPOTENCY_HEADER, OperatorToken, Proof, SIGNATURE_HEADER};
use borealis_bus_schema::routes::{Need, OWN_ROUTES, ROUTES, Right, Route};
use borealis_service_kit::clock::{Clock as _, SystemClock};
use borealis_service_kit::random;
use borealis_test_support::eventually_within;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::fleet::{Fleet, PATIENCE, context_of, https, lines, said};
use crate::operators::join;

/// Is who asks.
struct Kind {
    name: &'static str,
    bearer: Option<String>,
    token: Option<OperatorToken>,
}

/// Is what there is at one place: ids by the word in the path.
type Objects = BTreeMap<&'static str, String>;

struct Walk {
    client: Client,
    url: String,
    context: String,
}

/// Is an answer: `ok` or the problem's code, and everything that was said.
struct Said {
    code: String,
    words: String,
}

impl Walk {
    async fn ask(&self, kind: &Kind, method: &str, path: &str, body: &Value) -> Said {
        let text = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        let mut request = self.client.request(
            Method::from_bytes(method.as_bytes()).unwrap(),
            format!("{}{path}", self.url),
        );
        if let Some(bearer) = &kind.bearer {
            request = request.bearer_auth(bearer);
        }
        if method == "POST" {
            let command: CommandId = random::id();
            request = request.header(IDEMPOTENCY_HEADER, command.to_string());
            if let Some(token) = &kind.token {
                let session = session_of(&token.biscuit);
                let proof = Proof::new(
                    &token.key,
                    session,
                    command,
                    SystemClock.now(),
                    method,
                    path,
                    text.as_bytes(),
                );
                request = request.header(SIGNATURE_HEADER, proof.header());
            } else {
                // Whoever has no session signs with what he has.
                let key = random::signing_key();
                let proof = Proof::new(
                    &key,
                    random::id(),
                    command,
                    SystemClock.now(),
                    method,
                    path,
                    text.as_bytes(),
                );
                request = request.header(SIGNATURE_HEADER, proof.header());
            }
            request = request.header("content-type", "application/json").body(text);
        }
        let response = request.send().await.unwrap();
        let ok = response.status().is_success();
        let words = response.text().await.unwrap();
        if ok {
            return Said {
                code: "ok".to_owned(),
                words,
            };
        }
        let problem: Value = serde_json::from_str(&words).unwrap_or_else(|_| panic!("{method} {path}: {words}"));
        let told = ["code", "title", "detail", "status", "retry"].map(|name| problem[name].to_string());
        Said {
            code: problem["code"].as_str().unwrap().to_owned(),
            words: told.join(" "),
        }
    }

    /// Builds the path and the body of a route for an object.
    fn aimed(&self, route: &Route, object: &Objects) -> (String, Value) {
        let word = route.path.split('/').nth(3).unwrap_or_default();
        let id = object.get(word).cloned().unwrap_or_default();
        let body = match route.verb {
            "codes-create" => {
                let code = InstallerCode::new(random::bytes(), [0; 32]);
                json!({"public_key": code.public_key(), "hint": code.hint(), "site": object["site"]})
            }
            "jobs-create" => json!({
                "targets": {"guids": [object["devices"]]}, "language": "sh", "script": "true", "context": self.context,
                "timeout_ms": 60_000,
            }),
            "schedules-create" => json!({
                "name": "s", "kind": "yearly", "start": "2999-01-01T00:00:00Z",
                "job": {"targets": {"guids": [object["devices"]]}, "role": "agent", "verb": "ping"},
            }),
            "schedules-run" => json!({ "request": "0".repeat(64) }),
            "assemblies-create" => json!({"draft": draft(&object["site"])}),
            "assemblies-edit" => json!({"based_on": 1, "draft": draft(&object["site"])}),
            "assemblies-publish" => json!({"version": 1, "digest": object["digest"]}),
            "assemblies-archive" => json!({"archived": true}),
            _ => json!({}),
        };
        let mut path = route.path.replace("{id}", &id);
        path.push_str(match route.verb {
            "runs-output" => "?stream=stdout",
            "schedules-preview" => "?cron=@daily",
            "jobs-preview" => "?all=true",
            _ => "",
        });
        if route.verb == "assemblies-file" {
            path.push_str(&format!("?digest={}", object["file"]));
        }
        (path, body)
    }
}

/// Is a version that no other is like.
fn draft(site: &str) -> Value {
    let name = random::id::<CommandId>().to_string();
    let file = json!({"name": "notes", "data_base64": name});
    json!({"name": name, "type": "sh", "script": name, "sites": [site], "files": [file]})
}

/// Reads a session's id out of its biscuit.
fn session_of(biscuit: &str) -> borealis_bus_schema::ids::SessionId {
    let text = biscuit_auth::UnverifiedBiscuit::from_base64(biscuit)
        .unwrap()
        .print_block_source(0)
        .unwrap();
    let (_, rest) = text.split_once("session(\"").unwrap();
    rest.split_once('"').unwrap().0.parse().unwrap()
}

/// Tells whether a route reaches objects of sites by what it is asked for.
fn by_object(route: &Route) -> bool {
    (route.path.contains("{id}")
        || matches!(
            route.verb,
            "codes-create" | "jobs-create" | "schedules-create" | "assemblies-create"
        ))
        && of_sites(route)
}

fn of_sites(route: &Route) -> bool {
    matches!(route.tenancy, borealis_bus_schema::routes::Tenancy::Site)
}

async fn pending(fleet: &mut Fleet, site: &str, known: usize) -> String {
    let code = fleet.json(&["codes", "create", "--site", site, "--json"]);
    fleet.add_agent(code["code"].as_str().unwrap());
    eventually_within("a request that waits", PATIENCE, async || {
        let out = fleet.cli(&["approvals", "list", "--json"]);
        let waiting = lines(&out.stdout);
        let found = waiting.iter().find(|request| request["site"] == site)?;
        (waiting.len() > known).then(|| found["id"].as_str().unwrap().to_owned())
    })
    .await
    .unwrap()
}

/// Makes one object of each kind at a site whose device is there.
async fn objects(fleet: &mut Fleet, site: &str, device: &Value, known: usize) -> Objects {
    let guid = device["guid"].as_str().unwrap().to_owned();
    let context = context_of(device);
    let out = fleet.cli(&[
        "run",
        "--device",
        &guid,
        "--context",
        &context,
        "--follow",
        "--json",
        "--",
        "true",
    ]);
    assert!(out.status.success(), "{}", said(&out));
    let last = lines(&out.stdout).pop().unwrap();
    let text = |name: &str| last[name].as_str().unwrap().to_owned();
    let code = fleet.json(&["codes", "create", "--site", site, "--json"]);
    let schedule = fleet.json(&[
        "schedules",
        "create",
        "--name",
        site,
        "--kind",
        "yearly",
        "--start",
        "2999-01-01T00:00:00Z",
        "--device",
        &guid,
        "--json",
        "--",
        "true",
    ]);
    let objects = [
        ("site", site.to_owned()),
        ("devices", guid),
        ("jobs", text("job")),
        ("runs", text("run")),
        ("schedules", schedule["schedule"].as_str().unwrap().to_owned()),
        ("codes", code["id"].as_str().unwrap().to_owned()),
        ("approvals", pending(fleet, site, known).await),
    ];
    objects.into()
}

fn missing() -> Objects {
    let id = "0123456789abcdef0123456789abcdef".to_owned();
    let guid = borealis_bus_schema::ids::Guid::from_random([1; 16]).to_string();
    let mut objects: Objects = ["jobs", "runs", "codes", "approvals", "schedules"]
        .map(|word| (word, id.clone()))
        .into();
    objects.extend(["users", "sessions", "tokens", "passkeys", "grants"].map(|word| (word, id.clone())));
    objects.extend([("site", "atlantis".to_owned()), ("sites", "atlantis".to_owned())]);
    objects.extend([("devices", guid), ("roles", "nobody".to_owned())]);
    let digest = "0".repeat(64);
    objects.extend([("library", id), ("digest", digest.clone()), ("file", digest)]);
    objects
}

/// Compares with the checked-in matrix; `BOREALIS_GEN=1` writes one that is missing.
fn compare(found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tenancy.tsv");
    if !path.exists() && std::env::var_os("BOREALIS_GEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let differ: Vec<String> = expected
        .lines()
        .map(|line| format!("- {line}"))
        .filter(|line| !found.contains(&line[2..]))
        .chain(
            found
                .lines()
                .map(|line| format!("+ {line}"))
                .filter(|line| !expected.contains(&line[2..])),
        )
        .collect();
    assert!(
        expected == found,
        "tests/tenancy.tsv differs from what was answered; look at each difference, then remove the file and make it anew \
         with BOREALIS_GEN=1:\n{}",
        differ.join("\n")
    );
}

#[tokio::test]
async fn each_route_answers_each_token_for_own_foreign_and_missing_objects_as_the_matrix_says() {
    let mut fleet = Fleet::start(1).await;
    let first = fleet.devices().remove(0);
    fleet.json(&["sites", "create", "berlin", "--json"]);
    let code = fleet.json(&["codes", "create", "--site", "berlin", "--auto-approve", "--json"]);
    fleet.add_agent(code["code"].as_str().unwrap());
    let devices = fleet.all_online().await;
    let second = devices.into_iter().find(|device| device["site"] == "berlin").unwrap();
    for (role, site) in [("north", "berlin"), ("south", "default")] {
        let rights: Vec<String> = Right::ALL
            .into_iter()
            .filter(|right| right.is_of_sites())
            .map(|right| format!("{}@{site}", right.as_str()))
            .collect();
        let mut args = vec!["roles", "create", role, "--json"];
        for right in &rights {
            args.extend(["--right", right]);
        }
        fleet.json(&args);
    }
    let tokens: Vec<String> = [
        ("nora", "north"),
        ("sam", "south"),
        ("vera", "viewer"),
        ("eve", "viewer"),
    ]
    .map(|(name, role)| join(&mut fleet, name, &[role]))
    .into();
    let api = fleet.json(&[
        "token",
        "create",
        "--name",
        "ci",
        "--right",
        "jobs.read",
        "--right",
        "devices.read",
        "--site",
        "default",
        "--expires",
        "1d",
        "--json",
    ]);
    // One was logged in once.
    let own = std::mem::replace(&mut fleet.token, tokens[3].clone());
    let out = fleet.cli(&["logout", "--json"]);
    assert!(out.status.success(), "{}", said(&out));
    fleet.token = own;
    let mut at_default = objects(&mut fleet, "default", &first, 0).await;
    let mut at_berlin = objects(&mut fleet, "berlin", &second, 1).await;
    let identity = fleet.agents[0].bus_jwt();

    let operator = |name: &'static str, token: &str| {
        let token: OperatorToken = token.parse().unwrap();
        Kind {
            name,
            bearer: Some(token.biscuit.clone()),
            token: Some(token),
        }
    };
    let bare = |name: &'static str, bearer: Option<String>| Kind {
        name,
        bearer,
        token: None,
    };
    let kinds = [
        bare("none", None),
        bare("device", Some(identity)),
        operator("logged out", &tokens[3]),
        operator("API token", api["token"].as_str().unwrap()),
        operator("viewer", &tokens[2]),
        operator("north", &tokens[0]),
        operator("south", &tokens[1]),
        operator("administrator", &fleet.token),
    ];
    let walk = Walk {
        client: https(&fleet.server.ready().ca),
        url: fleet.server.ready().url.clone(),
        context: context_of(&first),
    };
    for (site, objects) in [("default", &mut at_default), ("berlin", &mut at_berlin)] {
        let path = "/api/v1/library/assemblies";
        let body = json!({ "draft": draft(site) });
        let made = walk.ask(&kinds[7], "POST", path, &body).await;
        let made: Value = serde_json::from_str(&made.words).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let path = format!("{path}/{}", text(&made["assembly"]));
        let shown = walk.ask(&kinds[7], "GET", &path, &Value::Null).await;
        let shown: Value = serde_json::from_str(&shown.words).unwrap();
        objects.insert("library", text(&made["assembly"]));
        objects.insert("digest", text(&made["latest_digest"]));
        objects.insert("file", text(&shown["content"]["files"][0]["digest"]));
    }
    let nothing = missing();
    let mut matrix = "route\tobject".to_owned();
    kinds
        .iter()
        .for_each(|kind| matrix.push_str(&format!("\t{}", kind.name)));
    matrix.push('\n');
    // What shuts devices out comes behind what needs them, and the log-out ends what the walk is made with.
    let mut routes: Vec<&Route> = ROUTES.iter().filter(|route| route.need != Need::Public).collect();
    routes.sort_by_key(|route| match route.verb {
        "logout" => 2,
        "devices-rotate-key" => 0,
        verb if route.changes && verb.starts_with("devices-") => 1,
        _ => 0,
    });
    for route in OWN_ROUTES
        .iter()
        .filter(|route| route.need != Need::Public && route.method != "WS")
    {
        let _ = write!(matrix, "{} {}\t-", route.method, route.path);
        for kind in &kinds {
            let path = match route.path {
                "/api/v1/audit/verify" => "/api/v1/audit/verify?service=access",
                path => path,
            };
            let said = walk.ask(kind, route.method, path, &Value::Null).await;
            let _ = write!(matrix, "\t{}", said.code);
        }
        matrix.push('\n');
    }
    for route in routes {
        let all = [("missing", &nothing), ("berlin", &at_berlin), ("default", &at_default)];
        let places: &[(&str, &Objects)] = if by_object(route) { &all } else { &all[..1] };
        let mut said: BTreeMap<(&str, &str), Said> = BTreeMap::new();
        for (place, object) in places {
            let name = if by_object(route) { place } else { "-" };
            let _ = write!(matrix, "{}\t{name}", route.verb);
            // Whoever may changes something last.
            let mut order: Vec<&Kind> = kinds.iter().collect();
            if *place == "berlin" {
                order.swap(5, 6);
            }
            for kind in order {
                let (path, body) = walk.aimed(route, object);
                let mut answer = walk.ask(kind, route.method, &path, &body).await;
                if answer.code != "ok" {
                    // What was asked for may be repeated.
                    for id in object.values().filter(|id| id.len() > 10) {
                        answer.words = answer.words.replace(id.as_str(), "<id>");
                    }
                }
                said.insert((kind.name, place), answer);
            }
            for kind in &kinds {
                let _ = write!(matrix, "\t{}", said[&(kind.name, *place)].code);
            }
            matrix.push('\n');
        }
        for (kind, foreign) in [("north", at_default.values()), ("south", at_berlin.values())] {
            // Lists tell nothing of a foreign object.
            for ((_, place), answer) in said.iter().filter(|((name, _), _)| *name == kind) {
                if answer.code == "ok" && of_sites(route) && !by_object(route) {
                    for id in foreign.clone().filter(|id| id.len() > 10) {
                        assert!(
                            !answer.words.contains(id.as_str()),
                            "{} {place}: {kind} reads of {id}",
                            route.verb
                        );
                    }
                }
            }
        }
        if by_object(route) {
            for (kind, foreign) in [("north", "default"), ("south", "berlin"), ("API token", "berlin")] {
                let (there, nowhere) = (&said[&(kind, foreign)], &said[&(kind, "missing")]);
                assert_eq!(
                    there.words, nowhere.words,
                    "{}: {kind} can tell foreign from missing",
                    route.verb
                );
                assert_ne!(there.code, "ok", "{}: {kind} reaches {foreign}", route.verb);
            }
            for (kind, own) in [("north", "berlin"), ("south", "default")] {
                let code = said[&(kind, own)].code.as_str();
                // A schedule runs now for whoever names its request, which this walk does not.
                let is_reached =
                    matches!(code, "ok" | "wrong_state") || (route.verb, code) == ("schedules-run", "conflict");
                assert!(is_reached, "{}: {kind} does not reach its own: {code}", route.verb);
            }
        }
        for kind in ["none", "device", "logged out"] {
            for ((_, place), answer) in said.iter().filter(|((name, _), _)| *name == kind) {
                assert_ne!(answer.code, "ok", "{} {place}: {kind}", route.verb);
            }
        }
    }
    compare(&matrix);
}
