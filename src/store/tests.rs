use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::directory(&dir.path().join("made")).expect("made");
    (dir, store)
}

#[test]
fn an_object_is_created_once_and_read_back() {
    let (_dir, store) = store();
    assert_eq!(store.create("a", b"one".to_vec()).expect("written"), Created::Yes);
    assert_eq!(store.create("a", b"two".to_vec()).expect("answered"), Created::Taken);
    assert_eq!(store.read("a").expect("there"), b"one");
    store.replace("a", b"three".to_vec()).expect("written");
    assert_eq!(store.read_ranges("a", &[3..5, 1..4]).expect("there"), ["ee", "hre"]);
    assert!(store.read_ranges("a", &[0..2, 3..6]).is_err(), "it has five bytes");
    store.remove("a").expect("removed");
    store.remove("a").expect("nothing to remove");
    assert!(matches!(store.read("a"), Err(StoreError::Missing { .. })));
}

#[test]
fn what_lies_below_a_slash_is_listed_by_its_whole_name() {
    let (_dir, store) = store();
    for name in ["b", "a/x/2", "a/y", "a/x/1", "ab"] {
        assert_eq!(store.create(name, vec![0; name.len()]).expect("written"), Created::Yes);
    }
    assert_eq!(store.names().expect("a list"), ["ab", "b"]);
    let names = |under| -> Vec<(String, u64)> {
        let listed = store.list(under).expect("a list");
        listed.into_iter().map(|object| (object.name, object.bytes)).collect()
    };
    let a = [("a/x/1", 5), ("a/x/2", 5), ("a/y", 3)].map(|(name, bytes)| (name.to_owned(), bytes));
    assert_eq!(names("a"), a);
    assert_eq!(names("").len(), 5);
    assert!(names("nothing").is_empty());
}

#[test]
fn a_directory_that_cant_be_made_is_named() {
    let (dir, _store) = store();
    std::fs::write(dir.path().join("file"), "").expect("written");
    let error = Store::directory(&dir.path().join("file/in")).expect_err("refused").to_string();
    assert!(error.contains("file/in") && error.contains("check the path"), "{error}");
}
