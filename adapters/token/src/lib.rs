//! Tokens: who somebody is and what it may see, signed by whoever the operator trusts (RFC 7519).
//!
//! What a token may be signed with is decided by the keys alone. What stands in its header only
//! chooses among them. A [`Verifier`] is what an adapter [lets people in](parlor_hub::connection::Verify)
//! by:
//!
//! ```
//! use parlor_core::{Identity, Timestamp, Username};
//! use parlor_token::{Verifier, sign};
//!
//! let secret = b"a secret of 32 bytes or more, please";
//! let subject = Username::new("alice")?;
//! let alice = Identity { subject, rooms: None };
//! let token = sign(secret, &alice, Timestamp(1_700_000_600_000))?;
//!
//! let verifier = Verifier::from_secret(secret)?;
//! let at = Timestamp(1_700_000_000_000);
//! assert_eq!(verifier.verify(&token, at)?.identity, alice);
//! assert!(verifier.verify(&token, at.plus_ms(3_600_000)).is_err(), "it has expired");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Bounds: a token has at most 8192 bytes, an RSA key 2048 to 4096 bits, a secret at least 32 bytes, a
//! set of keys at most 16 keys.

use std::error::Error;
use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, Header, Validation, crypto,
};
use parlor_core::types::RoomPattern;
use parlor_core::{Identity, Timestamp, Username};
use parlor_hub::connection::{Verified, Verify};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

/// How far the clock of whoever signs may be from ours.
const LEEWAY_MS: u64 = 5000;
/// What HTTP servers take in a header, so issuers make none that are longer. It also bounds how
/// many rooms a token can name.
const MOST_TOKEN_BYTES: usize = 8192;
/// As many bits as HS256 has (RFC 7518, section 3.2).
const FEWEST_SECRET_BYTES: usize = 32;
/// 2048 bits (RFC 7518, section 3.3).
const FEWEST_RSA_BYTES: usize = 256;
/// 4096 bits: the library verifies with no more.
const MOST_RSA_BYTES: usize = 512;
/// A token that names no key is tried with each of a set, and a set has two or three.
const MOST_KEYS: usize = 16;

/// Verifies tokens, with keys that may be replaced meanwhile.
pub struct Verifier(RwLock<Vec<Key>>);

struct Key {
    /// With it a token says that it was signed by this key.
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    validation: Validation,
}

/// Why a token is not good. Says nothing of what stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadToken {
    /// It is longer than any token needs to be.
    TooLong,
    /// It is no token at all, or one that asks for what nobody here knows.
    Malformed,
    /// No key of ours signed it.
    Unsigned,
    /// A claim is missing, of another type, or for somebody else.
    Claims,
    /// Its subject is no name.
    Name,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The secret is too short.
    ShortSecret,
    /// There is no public key that can be used.
    NoPublicKey,
    /// There are too many keys.
    TooManyKeys,
}

#[derive(Deserialize, Serialize)]
struct Claims {
    sub: String,
    #[serde(default, deserialize_with = "date", serialize_with = "whole_seconds")]
    exp: Option<Timestamp>,
    #[serde(default, deserialize_with = "date", skip_serializing)]
    nbf: Option<Timestamp>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    rooms: Option<Vec<String>>,
    /// Whoever has it is meant for another service; the library looks only at good ones.
    #[serde(
        rename = "aud",
        default,
        deserialize_with = "refused",
        skip_serializing
    )]
    _aud: (),
}

impl Verify for Verifier {
    fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Verified, Box<dyn Error + Send + Sync>> {
        Self::verify(self, token, now).map_err(Into::into)
    }
}

impl Verifier {
    /// Tokens are signed with this secret (HS256). A newline at its end does not count.
    ///
    /// # Errors
    /// When it has fewer than 32 bytes.
    pub fn from_secret(secret: &[u8]) -> Result<Self, KeyError> {
        let key = DecodingKey::from_secret(long_enough(secret)?);
        Ok(Self::new(vec![Key::new(None, Algorithm::HS256, key)]))
    }

    /// Tokens are signed with the other half of this key: RSA (RS256), P-256 (ES256) or Ed25519
    /// (EdDSA), as PEM, JWK, or JWKS with several of them. What else is in a JWKS is left out.
    ///
    /// # Errors
    /// When it has no such key, or too many.
    pub fn from_public_key(text: &[u8]) -> Result<Self, KeyError> {
        let keys: Vec<Key> = match serde_json::from_slice::<Value>(text) {
            Ok(Value::Object(mut object)) => match object.remove("keys") {
                Some(Value::Array(set)) => set.into_iter().filter_map(from_json).collect(),
                Some(_) => Vec::new(),
                None => from_json(Value::Object(object)).into_iter().collect(),
            },
            Ok(_) | Err(_) => from_pem(text).into_iter().collect(),
        };
        match keys.len() {
            0 => Err(KeyError::NoPublicKey),
            1..=MOST_KEYS => Ok(Self::new(keys)),
            _ => Err(KeyError::TooManyKeys),
        }
    }

    const fn new(keys: Vec<Key>) -> Self {
        Self(RwLock::new(keys))
    }

    /// Tokens that come from now on are verified with the keys of `fresh`.
    pub fn replace(&self, fresh: Self) {
        let keys = fresh.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// What `token` says, if it is good at `now`.
    ///
    /// # Errors
    /// Why it is not good.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Verified, BadToken> {
        if token.len() > MOST_TOKEN_BYTES {
            return Err(BadToken::TooLong);
        }
        self.signed_claims(token)?.at(now)
    }

    fn signed_claims(&self, token: &str) -> Result<Claims, BadToken> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| BadToken::Malformed)?;
        // RFC 7515, section 4.1.11: what is critical and not understood makes it invalid.
        if header.crit.is_some() {
            return Err(BadToken::Malformed);
        }
        let mut bad = BadToken::Unsigned;
        let keys = self.keys();
        for key in keys.iter().filter(|key| key.may_have_signed(&header)) {
            match jsonwebtoken::decode(token, &key.key, &key.validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) if is_about_claims(error.kind()) => bad = BadToken::Claims,
                Err(_) => {}
            }
        }
        Err(bad)
    }

    fn keys(&self) -> RwLockReadGuard<'_, Vec<Key>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many keys there are, and of which kinds; never the keys.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys();
        let algorithms = keys.iter().map(|key| key.algorithm);
        f.debug_list().entries(algorithms).finish()
    }
}

impl Key {
    fn new(id: Option<String>, algorithm: Algorithm, key: DecodingKey) -> Self {
        let mut validation = Validation::new(algorithm);
        // The library would read the system's clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        // Nobody is our audience, see `Claims`.
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Self {
            id,
            algorithm,
            key,
            validation,
        }
    }

    fn may_have_signed(&self, header: &Header) -> bool {
        let names_another =
            matches!((&self.id, &header.kid), (Some(ours), Some(theirs)) if ours != theirs);
        self.algorithm == header.alg && !names_another
    }
}

impl Claims {
    fn at(self, now: Timestamp) -> Result<Verified, BadToken> {
        let expires_at = self.exp.map(|exp| exp.plus_ms(LEEWAY_MS));
        if expires_at.is_some_and(|end| end <= now) {
            return Err(BadToken::Expired);
        }
        if self.nbf.is_some_and(|begin| now.plus_ms(LEEWAY_MS) < begin) {
            return Err(BadToken::NotYet);
        }
        let subject = Username::new(&self.sub).map_err(|_| BadToken::Name)?;
        let pattern = |text: String| RoomPattern(text.into());
        let rooms = self.rooms.map(|rooms| rooms.into_iter().map(pattern));
        let identity = Identity {
            subject,
            rooms: rooms.map(Iterator::collect),
        };
        Ok(Verified {
            identity,
            expires_at,
        })
    }
}

/// A token for `identity`, good until `expires_at`, signed with `secret` (HS256).
///
/// # Errors
/// When the secret has fewer than 32 bytes.
pub fn sign(secret: &[u8], identity: &Identity, expires_at: Timestamp) -> Result<String, KeyError> {
    let key = EncodingKey::from_secret(long_enough(secret)?);
    let rooms = identity.rooms.as_ref();
    let claims = Claims {
        sub: identity.subject.to_string(),
        exp: Some(expires_at),
        nbf: None,
        rooms: rooms.map(|rooms| rooms.iter().map(|room| room.0.to_string()).collect()),
        _aud: (),
    };
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key);
    Ok(token.expect("texts and numbers are JSON, and any bytes are a key of HS256"))
}

fn long_enough(secret: &[u8]) -> Result<&[u8], KeyError> {
    // Editors and echo put it there.
    let secret = secret.strip_suffix(b"\n").unwrap_or(secret);
    let enough = secret.len() >= FEWEST_SECRET_BYTES;
    enough.then_some(secret).ok_or(KeyError::ShortSecret)
}

/// A public key; nothing for a private one, which has no place on a server that only verifies.
fn from_pem(text: &[u8]) -> Option<Key> {
    let label = str::from_utf8(text).ok()?.trim_start();
    let public = [
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN RSA PUBLIC KEY-----",
    ];
    if !public.iter().any(|public| label.starts_with(public)) {
        return None;
    }
    let key = DecodingKey::from_rsa_pem(text)
        .or_else(|_| DecodingKey::from_ec_pem(text))
        .or_else(|_| DecodingKey::from_ed_pem(text))
        .ok()?;
    from_jwk(&Jwk::from_decoding_key(&key, None).ok()?)
}

fn from_json(key: Value) -> Option<Key> {
    from_jwk(&serde_json::from_value(key).ok()?)
}

/// The key decides the algorithm; one that is meant for something else is no key of ours.
fn from_jwk(jwk: &Jwk) -> Option<Key> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        // A secret among public keys would let everybody sign who may read them.
        AlgorithmParameters::OctetKey(_)
        | AlgorithmParameters::EllipticCurve(_)
        | AlgorithmParameters::OctetKeyPair(_)
        | AlgorithmParameters::Other(_)
        | _ => return None,
    };
    let common = &jwk.common;
    let meant = common.key_algorithm;
    let for_signatures = common.public_key_use.as_ref();
    if meant.is_some_and(|meant| meant != KeyAlgorithm::from(algorithm))
        || for_signatures.is_some_and(|usage| *usage != PublicKeyUse::Signature)
    {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    is_usable(&key, algorithm).then(|| Key::new(common.key_id.clone(), algorithm, key))
}

fn is_usable(key: &DecodingKey, algorithm: Algorithm) -> bool {
    let has_good_length = match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, .. } => {
            let zeros = n.iter().take_while(|byte| **byte == 0).count();
            (FEWEST_RSA_BYTES..=MOST_RSA_BYTES).contains(&(n.len() - zeros))
        }
        // Ed25519 has 32 bytes (RFC 8032, section 5.1.5), and the library takes that for granted.
        DecodingKeyKind::SecretOrDer(bytes) => algorithm != Algorithm::EdDSA || bytes.len() == 32,
    };
    // An error is the key's: a bad signature is no error.
    has_good_length && crypto::verify("", &[], key, algorithm).is_ok()
}

fn is_about_claims(error: &ErrorKind) -> bool {
    matches!(error, ErrorKind::Json(_))
}

/// Seconds since 1970, whole or not (RFC 7519, section 2).
fn date<'de, D: Deserializer<'de>>(claim: D) -> Result<Option<Timestamp>, D::Error> {
    let seconds = f64::deserialize(claim)?;
    let since_1970 = Duration::try_from_secs_f64(seconds).map_err(de::Error::custom)?;
    let ms = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
    Ok(Some(Timestamp(ms)))
}

fn whole_seconds<S: serde::Serializer>(
    date: &Option<Timestamp>,
    claim: S,
) -> Result<S::Ok, S::Error> {
    date.map(|date| date.0 / 1000).serialize(claim)
}

/// A claim that is there must have a value: null must not mean "everywhere".
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    claim: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(claim).map(Some)
}

/// A claim that must not be there.
fn refused<'de, D: Deserializer<'de>>(_: D) -> Result<(), D::Error> {
    Err(de::Error::custom("it is for somebody else"))
}

impl fmt::Display for BadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is too long",
            Self::Malformed => "it is malformed",
            Self::Unsigned => "no key that is configured signed it",
            Self::Claims => "a claim is missing, of another type, or for another audience",
            Self::Name => "its subject is no name",
            Self::Expired => "it has expired",
            Self::NotYet => "it is not valid yet",
        })
    }
}

impl Error for BadToken {}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortSecret => write!(
                f,
                "the secret is too short; give at least {FEWEST_SECRET_BYTES} random bytes"
            ),
            Self::NoPublicKey => f.write_str(
                "no usable public key; give RSA of 2048 to 4096 bits, P-256 or Ed25519, as PEM or JWKS",
            ),
            Self::TooManyKeys => write!(f, "too many keys; give at most {MOST_KEYS}"),
        }
    }
}

impl Error for KeyError {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NOW_S: u64 = 1_700_000_000;
    const NOW: Timestamp = Timestamp(NOW_S * 1000);
    const RSA: [&[u8]; 2] = [
        include_bytes!("../tests/keys/rsa-private.pem"),
        include_bytes!("../tests/keys/rsa-public.pem"),
    ];
    const EC: [&[u8]; 2] = [
        include_bytes!("../tests/keys/ec-private.pem"),
        include_bytes!("../tests/keys/ec-public.pem"),
    ];
    const ED: [&[u8]; 2] = [
        include_bytes!("../tests/keys/ed-private.pem"),
        include_bytes!("../tests/keys/ed-public.pem"),
    ];
    const PUBLIC: [&[u8]; 3] = [RSA[1], EC[1], ED[1]];

    fn by_secret() -> Verifier {
        Verifier::from_secret(SECRET).unwrap()
    }

    fn by_key(text: impl AsRef<[u8]>) -> Verifier {
        Verifier::from_public_key(text.as_ref()).unwrap()
    }

    fn alice() -> Value {
        json!({ "sub": "alice", "exp": NOW_S + 60 })
    }

    fn hs256(claims: &Value) -> String {
        signed(
            &Header::new(Algorithm::HS256),
            &EncodingKey::from_secret(SECRET),
            claims,
        )
    }

    fn signed(header: &Header, key: &EncodingKey, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, key).unwrap()
    }

    /// A token of each algorithm for public keys, in the order of `PUBLIC`.
    fn by_private_keys(change: impl Fn(&mut Header)) -> [String; 3] {
        let keys = [
            (Algorithm::RS256, EncodingKey::from_rsa_pem(RSA[0])),
            (Algorithm::ES256, EncodingKey::from_ec_pem(EC[0])),
            (Algorithm::EdDSA, EncodingKey::from_ed_pem(ED[0])),
        ];
        keys.map(|(algorithm, key)| {
            let mut header = Header::new(algorithm);
            change(&mut header);
            signed(&header, &key.unwrap(), &alice())
        })
    }

    fn jwk(pem: &[u8], more: &Value) -> Value {
        let key = [
            DecodingKey::from_rsa_pem,
            DecodingKey::from_ec_pem,
            DecodingKey::from_ed_pem,
        ]
        .iter()
        .find_map(|read| read(pem).ok());
        let jwk = Jwk::from_decoding_key(&key.unwrap(), None).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        let more = more.as_object().unwrap().clone();
        jwk.as_object_mut().unwrap().extend(more);
        jwk
    }

    /// The reason for which a verifier refuses `claims`, signed well, at `NOW`.
    #[track_caller]
    fn refused(claims: &Value) -> BadToken {
        by_secret().verify(&hs256(claims), NOW).unwrap_err()
    }

    #[track_caller]
    fn accepted(claims: &Value) -> Verified {
        by_secret().verify(&hs256(claims), NOW).unwrap()
    }

    #[test]
    fn each_algorithm_is_verified_by_its_own_key_alone() {
        let tokens = by_private_keys(|_| {});
        for (ours, key) in PUBLIC.iter().enumerate() {
            let verifier = by_key(key);
            for (theirs, token) in tokens.iter().enumerate() {
                let verified = verifier.verify(token, NOW);
                if ours == theirs {
                    assert_eq!(verified.unwrap().identity.subject.as_str(), "alice");
                } else {
                    assert_eq!(verified, Err(BadToken::Unsigned), "{ours} {theirs}");
                }
            }
            let by_secret = verifier.verify(&hs256(&alice()), NOW);
            assert_eq!(by_secret, Err(BadToken::Unsigned));
        }
        assert!(by_secret().verify(&hs256(&alice()), NOW).is_ok());
        for token in tokens {
            assert_eq!(by_secret().verify(&token, NOW), Err(BadToken::Unsigned));
        }
    }

    #[test]
    fn a_public_key_is_no_secret() {
        for pem in PUBLIC {
            let trimmed = pem.strip_suffix(b"\n").unwrap();
            for secret in [pem, trimmed] {
                let header = Header::new(Algorithm::HS256);
                let token = signed(&header, &EncodingKey::from_secret(secret), &alice());
                assert_eq!(by_key(pem).verify(&token, NOW), Err(BadToken::Unsigned));
            }
        }
    }

    #[test]
    fn other_hashes_of_the_same_key_are_refused() {
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            let key = EncodingKey::from_secret(SECRET);
            let token = signed(&Header::new(algorithm), &key, &alice());
            assert_eq!(by_secret().verify(&token, NOW), Err(BadToken::Unsigned));
        }
        for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
            let key = EncodingKey::from_rsa_pem(RSA[0]).unwrap();
            let token = signed(&Header::new(algorithm), &key, &alice());
            assert_eq!(by_key(RSA[1]).verify(&token, NOW), Err(BadToken::Unsigned));
        }
    }

    #[test]
    fn what_is_not_signed_is_refused() {
        const NONE: &str = "eyJhbGciOiJub25lIn0"; // {"alg":"none"}
        let good = hs256(&alice());
        let [header, claims, signature] =
            [0, 1, 2].map(|part| good.split('.').nth(part).unwrap().to_string());
        let others = hs256(&json!({ "sub": "root", "exp": NOW_S + 60 }));
        let others = others.split('.').nth(1).unwrap();
        let last = signature.len() - 1;
        for (token, why) in [
            (String::new(), BadToken::Malformed),
            ("..".into(), BadToken::Malformed),
            ("é".repeat(9), BadToken::Malformed),
            (format!("{NONE}.{claims}."), BadToken::Malformed),
            (format!("{NONE}.{claims}.{signature}"), BadToken::Malformed),
            (format!("{header}.{claims}"), BadToken::Malformed),
            (format!("{header}.{claims}."), BadToken::Unsigned),
            (
                format!("{header}.{claims}.{}", &signature[..last]),
                BadToken::Unsigned,
            ),
            (format!("{header}.{others}.{signature}"), BadToken::Unsigned),
            (format!("{good}.{signature}"), BadToken::Malformed),
            (format!(" {good}"), BadToken::Malformed),
        ] {
            assert_eq!(by_secret().verify(&token, NOW), Err(why), "{token}");
        }
        let another = Verifier::from_secret(&[7; 32]).unwrap();
        assert_eq!(another.verify(&good, NOW), Err(BadToken::Unsigned));
    }

    #[test]
    fn what_is_critical_and_unknown_is_refused() {
        let mut header = Header::new(Algorithm::HS256);
        header.crit = Some(vec!["b64".into()]);
        let token = signed(&header, &EncodingKey::from_secret(SECRET), &alice());
        assert_eq!(by_secret().verify(&token, NOW), Err(BadToken::Malformed));
    }

    #[test]
    fn a_token_has_a_longest_length() {
        let of = |padding: usize| {
            let claims = json!({ "sub": "alice", "padding": "x".repeat(padding) });
            hs256(&claims)
        };
        let mut padding = MOST_TOKEN_BYTES / 2;
        while of(padding + 1).len() <= MOST_TOKEN_BYTES {
            padding += 1;
        }
        assert!(by_secret().verify(&of(padding), NOW).is_ok());
        let huge = by_secret().verify(&of(padding + 1), NOW);
        assert_eq!(huge, Err(BadToken::TooLong));
    }

    #[test]
    fn times_have_a_leeway_of_five_seconds() {
        let token = hs256(&json!({ "sub": "alice", "nbf": NOW_S, "exp": NOW_S + 10 }));
        let at = |ms: i64| by_secret().verify(&token, Timestamp(NOW.0.saturating_add_signed(ms)));
        assert_eq!(at(-5001), Err(BadToken::NotYet));
        assert!(at(-5000).is_ok());
        let expires_at = NOW.plus_ms(15_000);
        assert_eq!(at(14_999).unwrap().expires_at, Some(expires_at));
        assert_eq!(at(15_000), Err(BadToken::Expired));
    }

    #[test]
    fn times_may_have_fractions_and_be_far_away() {
        let of = |exp: Value| accepted(&json!({ "sub": "alice", "exp": exp })).expires_at;
        let half = Timestamp(NOW.0 + 500 + LEEWAY_MS);
        assert_eq!(of(json!(NOW_S as f64 + 0.5)), Some(half));
        assert_eq!(of(json!(1e19)), Some(Timestamp(u64::MAX)));
        assert_eq!(accepted(&json!({ "sub": "alice" })).expires_at, None);
        assert_eq!(
            refused(&json!({ "sub": "alice", "exp": 0 })),
            BadToken::Expired
        );
        assert_eq!(
            refused(&json!({ "sub": "alice", "nbf": 1e19 })),
            BadToken::NotYet
        );
    }

    #[test]
    fn a_claim_of_another_type_is_refused() {
        for (claim, values) in [
            (
                "exp",
                json!([null, "1", -1, -0.5, 1e300, true, [NOW_S], {}]),
            ),
            ("nbf", json!([null, "1", -1, 1e300, false, []])),
            ("sub", json!([null, 7, ["alice"], {}])),
            ("rooms", json!([null, "lobby", 7, [7], [null], {}])),
            ("aud", json!(["another", ["another"], [], null, 7, {}])),
        ] {
            for value in values.as_array().unwrap() {
                let mut claims = alice();
                claims[claim] = value.clone();
                assert_eq!(refused(&claims), BadToken::Claims, "{claims}");
            }
        }
        for claims in [
            json!({}),
            json!([]),
            json!("alice"),
            json!({ "name": "alice" }),
        ] {
            assert_eq!(refused(&claims), BadToken::Claims, "{claims}");
        }
    }

    #[test]
    fn a_subject_is_a_name() {
        for name in ["", " alice", "a\u{202E}b", "\u{3164}", &"x".repeat(33)] {
            assert_eq!(refused(&json!({ "sub": name })), BadToken::Name, "{name:?}");
        }
        let longest = "x".repeat(32);
        let verified = accepted(&json!({ "sub": longest }));
        assert_eq!(verified.identity.subject.as_str(), longest);
    }

    #[test]
    fn rooms_are_ids_and_prefixes() {
        let covered = |rooms: Value| {
            let rooms = accepted(&json!({ "sub": "alice", "rooms": rooms }));
            let rooms = rooms.identity.rooms.unwrap();
            ["lobby", "team-a", "team-b", "steam"]
                .into_iter()
                .filter(|room| {
                    let room = parlor_core::RoomId::new(room).unwrap();
                    rooms.iter().any(|pattern| pattern.covers(&room))
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(
            covered(json!(["lobby", "team-*"])),
            ["lobby", "team-a", "team-b"]
        );
        assert_eq!(covered(json!(["team-a"])), ["team-a"]);
        assert_eq!(
            covered(json!(["*"])),
            ["lobby", "team-a", "team-b", "steam"]
        );
        for nothing in [json!([]), json!([""]), json!(["lob", "*team"])] {
            assert!(covered(nothing.clone()).is_empty(), "{nothing}");
        }
        assert_eq!(accepted(&alice()).identity.rooms, None);
    }

    #[test]
    fn what_sign_makes_is_verified() {
        for rooms in [None, Some(vec!["lobby", "team-*"]), Some(vec![])] {
            let pattern = |room: &str| RoomPattern(room.into());
            let identity = Identity {
                subject: Username::new("Ålice").unwrap(),
                rooms: rooms.map(|rooms| rooms.into_iter().map(pattern).collect()),
            };
            let token = sign(SECRET, &identity, NOW.plus_ms(1000)).unwrap();
            let verified = by_secret().verify(&token, NOW).unwrap();
            assert_eq!(verified.identity, identity);
            assert_eq!(verified.expires_at, Some(NOW.plus_ms(6000)));
        }
    }

    #[test]
    fn one_newline_at_the_end_of_a_secret_does_not_count() {
        let token = hs256(&alice());
        let with = |end: &[u8]| Verifier::from_secret(&[SECRET, end].concat()).unwrap();
        assert!(with(b"\n").verify(&token, NOW).is_ok());
        for end in [&b"\n\n"[..], b" ", b" \n"] {
            assert_eq!(with(end).verify(&token, NOW), Err(BadToken::Unsigned));
        }
    }

    #[test]
    fn a_short_secret_is_refused() {
        let identity = accepted(&alice()).identity;
        for secret in [
            &b""[..],
            b"\n",
            &SECRET[1..],
            b"123456789abcdef0123456789abcdef\n",
        ] {
            let refused = Verifier::from_secret(secret).unwrap_err();
            assert_eq!(refused, KeyError::ShortSecret);
            assert_eq!(sign(secret, &identity, NOW), Err(KeyError::ShortSecret));
        }
    }

    #[test]
    fn a_key_may_come_as_jwk_or_in_a_set() {
        let tokens = by_private_keys(|_| {});
        let keys = PUBLIC.map(|pem| jwk(pem, &json!({})));
        for (key, token) in keys.iter().zip(&tokens) {
            assert!(by_key(key.to_string()).verify(token, NOW).is_ok());
        }
        let set = by_key(json!({ "keys": keys }).to_string());
        for token in &tokens {
            assert!(set.verify(token, NOW).is_ok());
        }
        assert_eq!(set.verify(&hs256(&alice()), NOW), Err(BadToken::Unsigned));
    }

    #[test]
    fn a_token_that_names_a_key_is_verified_by_that_key() {
        let key = jwk(
            ED[1],
            &json!({ "kid": "new", "alg": "EdDSA", "use": "sig" }),
        );
        let set = by_key(json!({ "keys": [key] }).to_string());
        let [_, _, named] = by_private_keys(|header| header.kid = Some("new".into()));
        let [_, _, other] = by_private_keys(|header| header.kid = Some("old".into()));
        let [_, _, unnamed] = by_private_keys(|_| {});
        assert!(set.verify(&named, NOW).is_ok());
        assert!(set.verify(&unnamed, NOW).is_ok());
        assert_eq!(set.verify(&other, NOW), Err(BadToken::Unsigned));
        assert!(by_key(ED[1]).verify(&other, NOW).is_ok());
    }

    #[test]
    fn a_key_that_is_of_no_use_is_refused() {
        let octets = json!({ "kty": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY" });
        let short = json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" });
        let p521 = json!({ "kty": "EC", "crv": "P-521", "x": "AAAA", "y": "AAAA" });
        let off = json!({ "kty": "EC", "crv": "P-256", "x": "A".repeat(43), "y": "A".repeat(43) });
        let encrypts = jwk(RSA[1], &json!({ "use": "enc" }));
        let other_hash = jwk(RSA[1], &json!({ "alg": "RS512" }));
        let keys = [octets, short, p521, off, encrypts, other_hash];
        let certificate = String::from_utf8_lossy(RSA[1]).replace("PUBLIC KEY", "CERTIFICATE");
        let mut texts = vec![
            String::new(),
            "{}".into(),
            "[]".into(),
            r#"{"keys":7}"#.into(),
            r#"{"keys":[]}"#.into(),
            certificate,
            json!({ "keys": keys }).to_string(),
        ];
        texts.extend(keys.iter().map(ToString::to_string));
        let mut files: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        files.extend([RSA[0], EC[0], ED[0], SECRET, b"\xFF"]);
        files.push(include_bytes!("../tests/keys/rsa-1024-public.pem"));
        files.push(include_bytes!("../tests/keys/p384-public.pem"));
        for file in files {
            let refused = Verifier::from_public_key(file).map(|_| ());
            let text = String::from_utf8_lossy(file);
            assert_eq!(refused, Err(KeyError::NoPublicKey), "{text}");
        }
    }

    #[test]
    fn a_set_has_a_largest_size() {
        let set = |size| {
            let keys = vec![jwk(ED[1], &json!({})); size];
            Verifier::from_public_key(json!({ "keys": keys }).to_string().as_bytes()).map(|_| ())
        };
        assert_eq!(set(MOST_KEYS), Ok(()));
        assert_eq!(set(MOST_KEYS + 1), Err(KeyError::TooManyKeys));
    }

    #[test]
    fn keys_that_are_replaced_verify_nothing_any_more() {
        let [rsa, _, ed] = by_private_keys(|_| {});
        let verifier = by_key(RSA[1]);
        assert!(verifier.verify(&rsa, NOW).is_ok());
        verifier.replace(by_key(ED[1]));
        assert_eq!(verifier.verify(&rsa, NOW), Err(BadToken::Unsigned));
        assert!(verifier.verify(&ed, NOW).is_ok());
    }

    #[test]
    fn keys_are_not_printed() {
        let verifier = by_key(json!({ "keys": [jwk(EC[1], &json!({}))] }).to_string());
        assert_eq!(format!("{:?} {verifier:?}", by_secret()), "[HS256] [ES256]");
    }
}
