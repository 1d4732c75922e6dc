//! Browser without a window, which shows what becomes of a page.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Longest wait for a browser: a cold one on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(50);

/// Browser that starts here.
#[derive(Debug)]
pub struct Browser {
    program: PathBuf,
    scratch: PathBuf,
}

/// Page that a browser has opened.
#[derive(Debug)]
pub struct Page {
    /// Document after its script ran.
    pub dom: String,
    /// Complaints of the browser, line by line.
    pub complaints: Vec<String>,
}

/// Screen of the browser.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    pub width: u32,
    pub height: u32,
    pub is_dark: bool,
}

impl Browser {
    /// Finds the first browser that is installed and starts; prints why there is none.
    pub fn find(scratch: &Path) -> Option<Browser> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let programs =
            NAMES.iter().flat_map(|name| directories.iter().map(move |of| of.join(name)));
        let Some(program) = programs.into_iter().find(|program| program.is_file()) else {
            println!("SKIPPED: no chromium in PATH (Debian: apt-get install chromium)");
            return None;
        };
        let browser = Browser { program, scratch: scratch.into() };
        let blank = scratch.join("blank.html");
        fs::write(&blank, "<!DOCTYPE html><title>blank</title>").expect("scratch is writable");
        match browser.run("start", &blank, &["--dump-dom"]) {
            Ok((dom, _)) if dom.contains("blank") => Some(browser),
            Ok((_, errors)) => {
                let last = errors.lines().last().unwrap_or("it prints nothing").to_owned();
                println!("SKIPPED: {} does not start: {last}", browser.program.display());
                None
            }
            Err(error) => {
                println!("SKIPPED: {} does not start: {error}", browser.program.display());
                None
            }
        }
    }

    /// Opens a file and returns the page.
    pub fn open(&self, file: &Path) -> Page {
        let (dom, errors) = self.run("dom", file, &["--dump-dom"]).expect("the browser ends");
        let is_complaint = |line: &&str| line.contains("CONSOLE");
        let complaints = errors.lines().filter(is_complaint).map(str::to_owned).collect();
        Page { dom, complaints }
    }

    /// Saves a picture of a file and returns it.
    pub fn picture(&self, file: &Path, out: &Path, screen: Screen) -> Vec<u8> {
        let _ = fs::remove_file(out);
        let size = format!("--window-size={},{}", screen.width, screen.height);
        let save = format!("--screenshot={}", out.display());
        // 0 is dark, 1 is light.
        let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!screen.is_dark));
        self.run("picture", file, &[&size, &save, &scheme, "--hide-scrollbars"])
            .expect("the browser ends");
        fs::read(out).expect("there is a picture")
    }

    /// Runs the browser; returns what it printed: the document and the rest.
    fn run(&self, what: &str, file: &Path, options: &[&str]) -> Result<(String, String), String> {
        // A profile of its own: a browser that somebody else runs stays apart.
        let profile = self.scratch.join(format!("profile-{what}"));
        let (out, errors) = (profile.with_extension("out"), profile.with_extension("err"));
        let _ = fs::remove_dir_all(&profile);
        let save = |path: &Path| fs::File::create(path).expect("scratch is writable");
        let mut child = Command::new(&self.program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(["--disable-component-update", "--disable-dev-shm-usage"])
            .args(["--disable-extensions", "--virtual-time-budget=2000"])
            .args(["--enable-logging=stderr", "--v=0"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(options)
            .arg(format!("file://{}", file.display()))
            .stdin(Stdio::null())
            .stdout(save(&out))
            .stderr(save(&errors))
            .spawn()
            .map_err(|error| error.to_string())?;
        wait(&mut child)?;
        let _ = fs::remove_dir_all(&profile);
        let read =
            |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into();
        Ok((read(&out), read(&errors)))
    }
}

fn wait(child: &mut Child) -> Result<(), String> {
    let start = Instant::now();
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(_) => return Ok(()),
            None if start.elapsed() > PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it did not end within {PATIENCE:?}"));
            }
            None => thread::sleep(POLL),
        }
    }
}
