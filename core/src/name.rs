//! When two names are the same (I-8 rests on it).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::sync::Arc;

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use serde::{Deserialize, Serialize};

/// Two names are the same if and only if their keys are: Default_Ignorable_Code_Point dropped,
/// NFKC, case folded, NFKC again.
///
/// The order matters. Dropping last, or folding behind a single NFKC, is not idempotent; this is,
/// on every scalar value. Without dropping, "bob" and "bob" followed by U+3164 look the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NameKey(Arc<str>);

impl NameKey {
    /// The key of `name`; none if nothing is left of it.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let key: Cow<'_, str> = if name.is_ascii() {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Owned(fold(name))
        };
        (!key.is_empty()).then(|| Self(key.as_ref().into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn fold(name: &str) -> String {
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let seen: String = name.chars().filter(|&c| !is_ignorable(c)).collect();
    let composed = nfkc.normalize(&seen);
    let folded = CaseMapper::new().fold_string(&composed);
    nfkc.normalize(&folded).into_owned()
}

/// Whether a name is the same without `c`.
pub(crate) fn is_ignorable(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Option<String> {
        NameKey::of(name).map(|key| key.as_str().into())
    }

    #[test]
    fn spellings_of_one_name_have_one_key() {
        for (one, other) in [
            ("Bob", "bOB"),
            ("STRASSE", "straße"),
            ("Ångström", "A\u{30a}ngstro\u{308}m"),
            ("ﬁn", "FIN"),
            ("bob", "bob\u{3164}"),
            ("ａｌｉｃｅ", "Alice"),
        ] {
            assert_eq!(key(one), key(other), "{one} and {other}");
        }
    }

    #[test]
    fn different_names_have_different_keys() {
        assert_ne!(key("bob"), key("rob"));
        assert_ne!(key("1"), key("l"));
    }

    #[test]
    fn a_name_of_ignorable_characters_has_no_key() {
        assert_eq!(key("\u{3164}\u{115f}"), None);
    }

    #[test]
    fn a_key_is_its_own_key_for_every_scalar_value() {
        for c in '\0'..=char::MAX {
            let Some(once) = key(&String::from(c)) else {
                continue;
            };
            assert_eq!(
                key(&once).as_deref(),
                Some(&*once),
                "U+{:04X}",
                u32::from(c)
            );
        }
    }
}
