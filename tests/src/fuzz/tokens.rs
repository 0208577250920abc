//! Target `token`.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use parlor_core::{Timestamp, Username};
use parlor_token::Verifier;
use serde_json::Value;

use super::object::{Fields, Object, fields};

const SECRET: &[u8] = b"a secret that the fuzzer may know";
const NOW: Timestamp = Timestamp(1_700_000_000_000);
const NOW_S: f64 = 1_700_000_000.0;
const LEEWAY_S: f64 = 5.0;
/// Beyond it a number of seconds is no time.
const SECONDS: f64 = 18_446_744_073_709_551_616.0;
const PUBLIC: [&[u8]; 3] = [
    include_bytes!("../../../adapters/token/tests/keys/rsa-public.pem"),
    include_bytes!("../../../adapters/token/tests/keys/ec-public.pem"),
    include_bytes!("../../../adapters/token/tests/keys/ed-public.pem"),
];
const PLAIN: &str = r#"{"alg":"HS256"}"#;

/// With one line, a token that nobody signed. With more, a header and the claims behind it, signed
/// here: they are believed if and only if slow and naive code believes them, and nobody else's key
/// does.
pub fn token(text: &str) {
    let ours = Verifier::from_secret(SECRET).expect("it is long enough");
    let theirs = PUBLIC.map(|key| Verifier::from_public_key(key).expect("it is a public key"));
    let is_theirs = |token: &str| theirs.iter().any(|key| key.verify(token, NOW).is_ok());
    let Some((header, claims)) = text.split_once('\n') else {
        assert!(ours.verify(text, NOW).is_err(), "{text}");
        assert!(!is_theirs(text), "{text}");
        return;
    };
    let token = signed(header, claims);
    assert!(!is_theirs(&token), "{text}");
    let believed = ours.verify(&token, NOW);
    if believed.is_ok() {
        let header: Value = serde_json::from_str(header).expect("a header that counts is JSON");
        assert_eq!(header["alg"], "HS256", "{header}");
        assert!(header["crit"].is_null(), "{header}");
    }
    let is_short = token.len() <= 8192;
    if header == PLAIN && is_short {
        match fields(claims) {
            Some(Fields::Readable(object)) if !is_close(&object) => {
                assert_eq!(believed.is_ok(), is_good(&object), "{believed:?} {claims}");
            }
            Some(Fields::Readable(_) | Fields::Unreadable) => {}
            None => assert!(believed.is_err(), "{claims}"),
        }
    }
    if believed.is_ok() {
        assert!(is_short);
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).expect("tokens are ASCII");
            assert!(ours.verify(&forged, NOW).is_err(), "byte {at} of {token}");
        }
    }
}

fn signed(header: &str, claims: &str) -> String {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(SECRET);
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", signature.expect("any bytes can be signed"))
}

/// Whether a date is within a ms or so of where it begins or ceases to count, which this code, in
/// floating point, cannot tell apart.
fn is_close(claims: &Object) -> bool {
    let dates = claims.all("exp").chain(claims.all("nbf"));
    let mut apart = dates.filter_map(seconds).map(|date| (date - NOW_S).abs());
    apart.any(|apart| (apart - LEEWAY_S).abs() < 0.002)
}

fn is_good(claims: &Object) -> bool {
    let is_name = |sub: &Value| sub.as_str().is_some_and(|sub| Username::new(sub).is_ok());
    let is_after = |exp: &Value| seconds(exp).is_some_and(|exp| exp + LEEWAY_S > NOW_S);
    let is_before = |nbf: &Value| seconds(nbf).is_some_and(|nbf| nbf <= NOW_S + LEEWAY_S);
    let is_list = |rooms: &Value| {
        let rooms = rooms.as_array();
        rooms.is_some_and(|rooms| rooms.iter().all(Value::is_string))
    };
    claims.required("sub", is_name)
        && at_most_one(claims, "exp", is_after)
        && at_most_one(claims, "nbf", is_before)
        && at_most_one(claims, "rooms", is_list)
        && claims.all("aud").count() == 0
}

/// Unlike a field of a request, a claim that is null is a bad one.
fn at_most_one(claims: &Object, name: &str, is_good: impl Fn(&Value) -> bool) -> bool {
    match claims.all(name).count() {
        0 => true,
        _ => claims.required(name, is_good),
    }
}

fn seconds(date: &Value) -> Option<f64> {
    date.as_f64()
        .filter(|seconds| (0.0..SECONDS).contains(seconds))
}
