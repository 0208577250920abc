//! The files of the page, as HTTP answers. They are in the binary, so the page is as old as the
//! server that it talks to.
//!
//! They are for pages of this origin: without CORS no other page can import `/parlor-client.js` from
//! here. A page that runs another host's code is in that host's hands, and breaks with its next
//! version; developers copy the file or take the npm package.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

macro_rules! file {
    ($content_type:literal, $name:literal) => {
        (
            concat!("/", $name),
            $content_type,
            include_str!(concat!("../page/", $name)),
        )
    };
}

/// Where each file is served, what it is, and what is in it. `include_str!` checks that it is UTF-8,
/// which every answer says.
///
/// A list kept by hand, and a test that it is the folder: rust-embed is nine crates more for a dozen
/// files, takes all that lies there, and in debug builds serves what is on the disk and not what was
/// compiled. parlor-client.d.ts is plain text, for people to look at: .ts is registered as video.
const FILES: &[(&str, &str, &str)] = &[
    ("/", "text/html", include_str!("../page/index.html")),
    file!("text/css", "page.css"),
    file!("image/svg+xml", "icon.svg"),
    file!("text/javascript", "page.js"),
    file!("text/javascript", "banner.js"),
    file!("text/javascript", "composer.js"),
    file!("text/javascript", "elements.js"),
    file!("text/javascript", "explain.js"),
    file!("text/javascript", "links.js"),
    file!("text/javascript", "log.js"),
    file!("text/javascript", "memory.js"),
    file!("text/javascript", "names.js"),
    file!("text/javascript", "panels.js"),
    file!("text/javascript", "rooms.js"),
    file!("text/javascript", "rows.js"),
    file!("text/javascript", "sidebar.js"),
    file!("text/javascript", "parlor-client.js"),
    file!("text/plain", "parlor-client.d.ts"),
];

/// What a page may do: load from its own origin, and never make code of text. By 'self', browsers
/// understand the WebSockets of the same host and port as well (CSP 3; Chrome 71, Safari 16).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

static PAGE: LazyLock<Vec<File>> = LazyLock::new(|| FILES.iter().map(File::new).collect());

/// One file of the page.
pub(crate) struct File {
    path: &'static str,
    text: &'static str,
    content_type: HeaderValue,
    /// Strong: equal tags are equal bytes of the same type.
    etag: HeaderValue,
}

/// The file that is served at `path`.
pub(crate) fn file(path: &str) -> Option<&'static File> {
    PAGE.iter().find(|file| file.path == path)
}

impl File {
    fn new(&(path, content_type, text): &(&'static str, &'static str, &'static str)) -> Self {
        // Without random keys, so that a restart and another instance give the same tags. When a
        // new Rust hashes otherwise, browsers load the page once more.
        let mut hasher = DefaultHasher::new();
        (content_type, text).hash(&mut hasher);
        let etag = format!("\"{:016x}\"", hasher.finish());
        let content_type = format!("{content_type}; charset=utf-8");
        let header = |value| HeaderValue::try_from(value).expect("all of it is visible ASCII");
        Self {
            path,
            text,
            content_type: header(content_type),
            etag: header(etag),
        }
    }

    /// What whoever reads this file with these headers gets: the file, or that they have it.
    pub(crate) fn answer(&self, request: &HeaderMap) -> Response<Full<Bytes>> {
        let mut answer = if self.is_known(request) {
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            answer
        } else {
            let mut answer = Response::new(Full::from(self.text));
            let headers = answer.headers_mut();
            headers.insert(CONTENT_TYPE, self.content_type.clone());
            answer
        };
        let headers = answer.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        // Asked for each time, so that a page is never older than its server. The policies come also
        // when the text is known: a new server may have new ones for it.
        for (name, value) in [
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (OPENER_POLICY, "same-origin"),
            (RESOURCE_POLICY, "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        answer
    }

    /// Whether `If-None-Match` names this file's tag (RFC 9110, section 13.1.2). Tags are compared
    /// weakly. Cutting at commas is exact, since no tag of ours has one.
    fn is_known(&self, request: &HeaderMap) -> bool {
        let lines = request.get_all(IF_NONE_MATCH).iter();
        let mut tags = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
        tags.any(|tag| {
            let tag = tag.trim_ascii();
            tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.etag.as_bytes()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// What is in the folder for the npm package alone.
    fn is_served(name: &str) -> bool {
        name != "package.json" && name != "README.md" && !name.starts_with("LICENSE")
    }

    #[test]
    fn the_table_is_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let mut on_disk = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if is_served(&name) {
                let path = name.replace("index.html", "");
                let text = fs::read_to_string(entry.path());
                on_disk.insert(format!("/{path}"), text.expect(&name));
            }
        }
        let paths: Vec<&str> = on_disk.keys().map(String::as_str).collect();
        let mut table: Vec<&str> = FILES.iter().map(|(path, ..)| *path).collect();
        table.sort_unstable();
        assert_eq!(table, paths, "FILES, and what is in the folder");
        for (path, _, text) in FILES {
            assert!(on_disk[*path] == *text, "{path} is another file");
        }
    }

    /// Another process must give the same tag, and another text or type never.
    #[test]
    fn a_tag_is_of_the_text_and_its_type_alone() {
        let tag = |path, content_type, text| File::new(&(path, content_type, text)).etag;
        let one = tag("/a", "text/css", "b");
        assert_eq!(tag("/b", "text/css", "b"), one);
        assert_ne!(tag("/a", "text/css", "c"), one);
        assert_ne!(tag("/a", "text/html", "b"), one);
    }
}
