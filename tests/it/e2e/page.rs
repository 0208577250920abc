//! The files of the page: what they are served as, to whom, and when not again.

use std::fs;
use std::path::Path;

use parlor_tests::client::Client;
use parlor_tests::server::TestServer;

use super::http::{ask, get, header, status};
use super::server;

/// What every answer with a file, or about one that is known, says.
const HEADERS: [(&str, &str); 6] = [
    ("cache-control", "no-cache"),
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// The names of the files in the page's folder.
fn names() -> Vec<String> {
    let folder = fs::read_dir(folder()).expect("the folder is there");
    let names = folder.map(|entry| {
        let name = entry.expect("the folder can be read").file_name();
        name.into_string().expect("names are UTF-8")
    });
    names.collect()
}

fn folder() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../adapters/smol/page"
    ))
}

/// What a file is served as; none if it is in the folder for the npm package alone.
fn content_type(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        // For people: no browser runs it, and what is registered for .ts is video.
        "ts" => Some("text/plain; charset=utf-8"),
        "svg" => Some("image/svg+xml; charset=utf-8"),
        _ => None,
    }
}

/// Where the files of the page are served, and their names.
fn served() -> Vec<(String, String)> {
    let names = names().into_iter();
    let served = names.filter(|name| content_type(name).is_some());
    let served: Vec<_> = served
        .map(|name| match name.as_str() {
            "index.html" => ("/".to_string(), name),
            _ => (format!("/{name}"), name),
        })
        .collect();
    assert!(served.iter().any(|(path, _)| path == "/"));
    served
}

fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: parlor\r\n{headers}\r\n")
}

fn body(response: &str) -> &str {
    let (_, body) = response.split_once("\r\n\r\n").expect("a head ends");
    body
}

fn etag(server: &TestServer, path: &str) -> String {
    let etag = header(&get(server, path), "etag").map(String::from);
    etag.expect("every file has a tag")
}

#[test]
fn each_file_is_served_as_it_is_on_disk() {
    let server = server();
    for (path, name) in served() {
        let response = get(&server, &path);
        let on_disk = fs::read_to_string(folder().join(&name)).expect("it can be read");
        assert_eq!(status(&response), "200", "{path}");
        assert!(body(&response) == on_disk, "{path}");
        assert_eq!(header(&response, "content-type"), content_type(&name));
    }
}

#[test]
fn each_file_comes_with_the_policies() {
    let server = server();
    for (path, _) in served() {
        let response = get(&server, &path);
        for (name, value) in HEADERS {
            assert_eq!(header(&response, name), Some(value), "{path}");
        }
        // For pages of this origin alone.
        assert_eq!(header(&response, "access-control-allow-origin"), None);
    }
}

#[test]
fn nothing_else_is_served() {
    let server = server();
    for path in [
        "/package.json",
        "/README.md",
        "/index.html",
        "/index",
        "//",
        "/./",
        "/page/",
        "/page/index.html",
        "/../Cargo.toml",
        "/../src/page.rs",
        "/%2e%2e/Cargo.toml",
        "/..%2fCargo.toml",
        "/..\\Cargo.toml",
        "/etc/passwd",
    ] {
        assert_eq!(status(&get(&server, path)), "404", "{path}");
    }
    for name in names() {
        if content_type(&name).is_none() {
            assert_eq!(status(&get(&server, &format!("/{name}"))), "404", "{name}");
        }
    }
}

#[test]
fn a_query_changes_nothing() {
    let server = server();
    let plain = get(&server, "/");
    assert_eq!(body(&get(&server, "/?room=general")), body(&plain));
}

#[test]
fn a_file_that_is_known_is_not_sent_again() {
    let server = server();
    for (path, _) in served() {
        let mut client = Client::dial(server.address());
        client.write(request("GET", &path, "").as_bytes());
        let full = client.response();
        let etag = header(&full, "etag").expect("a tag");
        assert!(etag.starts_with('"'), "{etag} is not strong");

        for method in ["GET", "HEAD"] {
            let known = request(method, &path, &format!("If-None-Match: {etag}\r\n"));
            client.write(known.as_bytes());
            // Whatever came behind the head would be taken for the head of the next answer.
            let response = client.response_head();
            assert_eq!(status(&response), "304");
            assert_eq!(header(&response, "etag"), Some(etag));
            for (name, value) in HEADERS {
                assert_eq!(header(&response, name), Some(value), "{path}");
            }
            // It would be the length of the file (RFC 9110, section 8.6).
            assert_eq!(header(&response, "content-length"), None);
        }

        client.write(request("GET", &path, "").as_bytes());
        assert!(body(&client.response()) == body(&full), "{path}");
    }
}

#[test]
fn each_file_has_a_tag_of_its_own() {
    let server = server();
    let mut tags: Vec<_> = served()
        .iter()
        .map(|(path, _)| etag(&server, path))
        .collect();
    let count = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), count);
}

#[test]
fn a_tag_is_found_wherever_it_may_stand() {
    let server = server();
    let etag = etag(&server, "/");
    let bare = etag.trim_matches('"');
    let ask_with = |headers: &str| ask(&server, &request("GET", "/", headers));
    for known in [
        etag.clone(),
        format!("W/{etag}"),
        "*".to_string(),
        format!("\"other\", {etag}"),
        format!("{etag},\"other\""),
        format!("W/\"a,b\" ,\t W/{etag} , \"other\""),
        format!(",, {etag},"),
        format!("\"other\"\r\nIf-None-Match: {etag}"),
    ] {
        let response = ask_with(&format!("If-None-Match: {known}\r\n"));
        assert_eq!(status(&response), "304", "{known}");
    }
    for unknown in [
        String::new(),
        "\"\"".to_string(),
        "\"other\"".to_string(),
        "W/\"other\", \"another\"".to_string(),
        bare.to_string(),
        format!("w/{etag}"),
        format!("\"{bare}0\""),
        format!("\"a,{bare}\""),
        "\"*\"".to_string(),
    ] {
        let response = ask_with(&format!("If-None-Match: {unknown}\r\n"));
        assert_eq!(status(&response), "200", "{unknown}");
        assert!(body(&response).contains("<html"), "{unknown}");
    }
}

#[test]
fn a_head_is_the_head_of_the_file() {
    // The time in it may be another one.
    fn lines(response: &str) -> Vec<&str> {
        let head = response.lines().take_while(|line| !line.is_empty());
        head.filter(|line| !line.starts_with("date: ")).collect()
    }
    let server = server();
    for (path, _) in served() {
        let mut client = Client::dial(server.address());
        client.write(request("HEAD", &path, "").as_bytes());
        let head = client.response_head();
        client.write(request("GET", &path, "").as_bytes());
        let full = client.response();
        assert_eq!(lines(&head), lines(&full));
        let length = body(&full).len().to_string();
        assert_eq!(header(&head, "content-length"), Some(length.as_str()));
    }
}

#[test]
fn a_file_can_only_be_read() {
    let server = server();
    for (path, _) in served() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            // Not even a tag that matches makes it another answer (RFC 9110, section 13.2.1).
            let headers = "Content-Length: 0\r\nIf-None-Match: *\r\n";
            let refused = ask(&server, &request(method, &path, headers));
            assert_eq!(
                (status(&refused), header(&refused, "allow")),
                ("405", Some("GET, HEAD")),
                "{method} {path}"
            );
        }
    }
}
