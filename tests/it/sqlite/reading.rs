//! What an operator reads with a shell of their own.

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::{Batch, Connection};

use super::{open, say};

#[test]
fn the_queries_of_the_readme_answer() {
    let readme = include_str!("../../../README.md");
    let queries: String = readme
        .split("```sql\n")
        .skip(1)
        .filter_map(|behind| behind.split("```").next())
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    say(&mut store, "general", "e1", 1..=3);
    // The server still runs.
    let shell = Connection::open(dir.path().join("parlor.db")).unwrap();
    shell
        .execute("UPDATE messages SET at = unixepoch('now') * 1000", [])
        .unwrap();
    let mut batch = Batch::new(&shell, &queries);
    let mut answers = Vec::new();
    while let Some(mut query) = batch.next().unwrap() {
        let columns = query.column_count();
        let row = query.query_row([], |row| {
            (0..columns)
                .map(|column| row.get::<_, rusqlite::types::Value>(column))
                .collect::<rusqlite::Result<Vec<_>>>()
        });
        answers.push(format!("{:?}", row.unwrap()));
    }
    assert_eq!(answers.len(), 3, "{answers:?}");
    for (answer, expected) in answers.iter().zip([
        r#"Text("Åsa"), Text("text 3")"#,
        r#"[Text("Åsa"), Integer(3)]"#,
        r#"[Text("general"), Integer(3), Integer(18), "#,
    ]) {
        assert!(answer.contains(expected), "{answer}");
    }
}
