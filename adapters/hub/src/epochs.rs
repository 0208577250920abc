//! Epochs that nobody else gives.

use parlor_core::Epoch;

/// Epochs that no other run of a server gives: random bits of this one, and a counter.
///
/// # Errors
/// When the system gives no random numbers.
pub fn epochs() -> Result<impl FnMut() -> Epoch + Send + 'static, getrandom::Error> {
    let run = getrandom::u64()?;
    let mut count: u64 = 0;
    Ok(move || {
        count += 1;
        Epoch::new(&format!("{run:016x}-{count:x}")).expect("it is ASCII and shorter than 64")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_epoch_is_given_twice() {
        let runs = [0, 1].map(|_| epochs().unwrap());
        let given = runs
            .into_iter()
            .flat_map(|run| std::iter::repeat_with(run).take(10));
        let mut given: Vec<String> = given.map(|epoch| epoch.to_string()).collect();
        given.sort();
        given.dedup();
        assert_eq!(given.len(), 20, "{given:?}");
    }
}
