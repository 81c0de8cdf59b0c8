//! A headless Chromium, spoken to by the protocol of its developer tools.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// A browser with one page.
pub struct Browser {
    process: Child,
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    session: String,
    next: u64,
    /// What the page complained about.
    pub complaints: Vec<String>,
    _profile: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have died already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How a page is looked at.
#[derive(Copy, Clone, Debug)]
pub struct View {
    pub name: &'static str,
    pub width: u32,
    pub height: u32,
    pub is_phone: bool,
    pub is_dark: bool,
}

impl Browser {
    /// Starts it.
    pub fn start(program: &Path) -> Self {
        let profile = TempDir::new().expect("temporary directory");
        let process = Command::new(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the browser starts");
        let told = profile.path().join("DevToolsActivePort");
        let began = Instant::now();
        let (port, path) = loop {
            let text = fs::read_to_string(&told).unwrap_or_default();
            if let Some((port, path)) = text.split_once('\n') {
                break (port.to_owned(), path.trim().to_owned());
            }
            assert!(began.elapsed() < PATIENCE, "the browser says where it listens");
            thread::sleep(PAUSE);
        };
        let (socket, _) = tungstenite::connect(format!("ws://127.0.0.1:{port}{path}")).expect("it listens");
        let mut browser = Self {
            process,
            socket,
            session: String::new(),
            next: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached =
            browser.call("Target.attachToTarget", json!({ "targetId": page["targetId"], "flatten": true }));
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Asks the browser for something.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        self.socket.send(Message::text(message.to_string())).expect("the browser lives");
        loop {
            let text = self.socket.read().expect("the browser answers").into_text().expect("text");
            let told: Value = serde_json::from_str(&text).expect("JSON");
            if told["id"] == self.next {
                assert!(told["error"].is_null(), "{method}: {}", told["error"]);
                return told["result"].clone();
            }
            self.note(&told);
        }
    }

    fn note(&mut self, told: &Value) {
        let complaint = match told["method"].as_str() {
            Some("Runtime.exceptionThrown") => told["params"]["exceptionDetails"].to_string(),
            Some("Log.entryAdded") if told["params"]["entry"]["level"] == "error" => {
                told["params"]["entry"].to_string()
            }
            Some("Runtime.consoleAPICalled") if told["params"]["type"] == "error" => {
                told["params"]["args"].to_string()
            }
            _ => return,
        };
        self.complaints.push(complaint);
    }

    /// Opens an address, seen so.
    pub fn open(&mut self, url: &str, view: View) {
        let View { width, height, is_phone, is_dark, .. } = view;
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone }),
        );
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
        self.call("Page.navigate", json!({ "url": url }));
        self.wait("document.documentElement.dataset.ready === 'true'");
    }

    /// What an expression is in the page; of a promise, what comes of it.
    pub fn eval(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page, which may still be loading.
    pub fn wait(&mut self, expression: &str) {
        let began = Instant::now();
        loop {
            let parameters = json!({ "expression": expression, "returnByValue": true });
            let answer = self.call("Runtime.evaluate", parameters);
            if answer["result"]["value"] == true {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{expression}: {answer}; {:?}", self.complaints);
            thread::sleep(PAUSE);
        }
    }

    /// A picture of the whole page.
    pub fn picture(&mut self) -> Vec<u8> {
        let answer =
            self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        let data = answer["data"].as_str().expect("a picture");
        base64::engine::general_purpose::STANDARD.decode(data).expect("base64")
    }
}
