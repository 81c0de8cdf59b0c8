//! `services engine`: hands this process over to the ClickHouse engine in `libchdb.so`.

use std::error::Error;
use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::ptr;

use libloading::Library;

/// The engine's result, of which we see only pointers.
#[repr(C)]
struct QueryResult {
    _private: [u8; 0],
}

type QueryCmdline = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut QueryResult;
type ResultError = unsafe extern "C" fn(*mut QueryResult) -> *const c_char;

/// Runs `clickhouse-local` with these arguments, until its query ends.
pub(crate) fn run(library: &Path, arguments: &[OsString]) -> Result<ExitCode, Box<dyn Error>> {
    let name = OsString::from("clickhouse-local");
    let arguments: Vec<CString> = [&name]
        .into_iter()
        .chain(arguments)
        .map(|argument| CString::new(argument.as_bytes()))
        .collect::<Result<_, _>>()?;
    match query(library, arguments)? {
        Some(message) => Err(message.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Calls the engine; returns its error message, if there is one.
#[allow(unsafe_code, reason = "the engine is a library of C functions; nothing else in the workspace is")]
fn query(library: &Path, arguments: Vec<CString>) -> Result<Option<String>, Box<dyn Error>> {
    let count = c_int::try_from(arguments.len())?;
    // Owned by the process from here on: the engine may keep pointers for as long as it runs.
    let mut pointers: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
    pointers.push(ptr::null_mut());
    let pointers = pointers.leak();
    // SAFETY: The library is the pinned one, whose checksum was verified when it was fetched; the two
    // signatures are those that its header `chdb.h` declares, and its initialisers ask for nothing.
    // `argv` has `count` strings that end in NUL and a null after them, and is never freed. The
    // engine is called once, on the main thread, before any other thread of ours exists. Its result
    // is read here and never freed, and the library is never unloaded.
    unsafe {
        let engine: &'static Library = Box::leak(Box::new(Library::new(library)?));
        let query_cmdline = engine.get::<QueryCmdline>(b"chdb_query_cmdline\0")?;
        let result_error = engine.get::<ResultError>(b"chdb_result_error\0")?;
        let result = query_cmdline(count, pointers.as_mut_ptr());
        let message = if result.is_null() { ptr::null() } else { result_error(result) };
        let text = (!message.is_null()).then(|| CStr::from_ptr(message).to_string_lossy().into_owned());
        Ok(text.filter(|text| !text.is_empty()))
    }
}
