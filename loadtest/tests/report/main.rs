//! Reports and diffs as the program writes them, and reports as a browser shows
//! them: all plots there, no complaint, nothing over something else, on a phone
//! and on a desk, light and dark.

#![cfg(unix)]

mod browser;
mod example;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use browser::{Browser, Screen};
use netcluster_loadtest::report;
use netcluster_loadtest::result::{ResultFile, RunResult};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_netcluster-loadtest");
const DESK: Screen = Screen { width: 1200, height: 1600, is_dark: false };
const PHONE_WIDTH: u32 = 360;
/// Size of a picture, in bytes, below which nothing is in it.
const MIN_PICTURE_BYTES: usize = 20_000;
/// Number of a run's plots: over time, percentiles, capacity, and a histogram for each
/// latency.
const RUN_PLOTS: usize = 4 + 1 + 1 + 3;
/// Number of plots with another metric and another unit, which are plots of their own.
const HOSTILE_PLOTS: usize = RUN_PLOTS + 2;
/// Number of a comparison's plots: a panel for each metric and load.
const COMPARE_PLOTS: usize = 10;

/// Makes a new directory, which stays for a look at its files.
fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("scratch is writable");
    directory
}

fn program(words: &[&str]) -> Output {
    Command::new(PROGRAM).args(words).output().expect("the program runs")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is a text")
}

/// Writes a result and its report by the program.
fn reported(directory: &Path, name: &str, result: &ResultFile) -> PathBuf {
    let (json, html) =
        (directory.join(format!("{name}.json")), directory.join(format!("{name}.html")));
    result.write(&json).expect("scratch is writable");
    let output = program(&["report", text(&json), "-o", text(&html)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    html
}

fn all_reports(directory: &Path) -> [(PathBuf, usize); 2] {
    [
        (reported(directory, "run", &example::run_file()), RUN_PLOTS),
        (reported(directory, "compare", &example::compare_file()), COMPARE_PLOTS),
    ]
}

#[test]
fn a_report_is_one_file_that_asks_for_nothing() {
    for (html, plots) in all_reports(&scratch("report-file")) {
        let page = fs::read_to_string(&html).unwrap();
        for request in ["http:", "https:", " src=", "@import", "url(", "<link rel=\"stylesheet"] {
            assert!(!page.contains(request), "{request} in {}", html.display());
        }
        // One of both sizes is shown; panels have one size.
        let (wide, bars) =
            (page.matches("svg class=\"plot wide\"").count(), page.matches("plot bars\"").count());
        assert_eq!(wide + bars, plots, "{}", html.display());
        assert_eq!(page.matches("role=\"img\"").count(), 2 * wide + bars);
        assert_eq!(page.matches("<desc id=").count(), 2 * wide + bars);
        let data = page.matches("href=\"data:text/csv").count();
        assert!(data >= wide && data > 0, "each plot has its data: {data}");
    }
}

#[test]
fn texts_of_a_result_stay_texts() {
    let hostile = ResultFile::Run(Box::new(example::hostile()));
    let page = report::html(&hostile);
    let own = report::html(&example::run_file());
    for tag in ["<script", "</script", "<img", "<style", "<meta"] {
        assert_eq!(page.matches(tag).count(), own.matches(tag).count(), "{tag}");
    }
    assert!(page.contains("&lt;script&gt;"));
    let policy = page.lines().find(|line| line.contains("Content-Security-Policy")).unwrap();
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[test]
fn an_empty_result_makes_a_report_too() {
    for result in [
        ResultFile::Run(Box::default()),
        ResultFile::Compare(Box::default()),
        ResultFile::Run(Box::new(RunResult {
            seconds: 0.0,
            series: example::run().series,
            ..RunResult::default()
        })),
    ] {
        let page = report::html(&result);
        assert!(page.ends_with("</html>\n") && !page.contains("NaN"), "{page}");
    }
}

#[test]
fn each_field_is_documented() {
    let document = include_str!("../../RESULT.md");
    let mut names = Vec::new();
    for result in [example::run_file(), example::compare_file()] {
        collect(&serde_json::from_str(&result.to_json().unwrap()).unwrap(), &mut names);
    }
    let is_missing = |name: &&String| !document.contains(&format!("`{name}`"));
    let missing: Vec<&String> = names.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "not in RESULT.md: {missing:?}");
}

/// Collects names of fields, but not of entries: those are names of the user.
fn collect(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                names.push(name.clone());
                if name != "counters" && name != "versions" {
                    collect(value, names);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, names)),
        _ => {}
    }
}

#[test]
fn the_examples_of_the_document_are_results() {
    let document = include_str!("../../RESULT.md");
    let blocks = document.split("```json\n").skip(1);
    let blocks: Vec<&str> = blocks.filter_map(|block| block.split("```").next()).collect();
    assert_eq!(blocks.len(), 2, "one of each kind");
    for block in blocks {
        ResultFile::parse(block).unwrap_or_else(|error| panic!("{error:#} in {block}"));
    }
}

#[test]
fn a_diff_tells_by_its_exit_code_whether_anything_is_worse() {
    let directory = scratch("diff");
    let (before, after) = (directory.join("before.json"), directory.join("after.json"));
    let mut slower = example::run();
    slower.series.iter_mut().for_each(|series| {
        series.values.iter_mut().for_each(|value| *value *= 0.5);
    });
    example::run_file().write(&before).unwrap();
    ResultFile::Run(Box::new(slower)).write(&after).unwrap();

    let same = program(&["diff", text(&before), text(&before)]);
    assert_eq!(same.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&same.stdout).starts_with("Within noise:"), "{same:?}");

    let worse = program(&["diff", text(&before), text(&after)]);
    assert_eq!(worse.status.code(), Some(1));
    let told = String::from_utf8_lossy(&worse.stdout).into_owned();
    assert!(told.contains("intake on north: delivered_events") && told.contains("−50 %"), "{told}");

    let json = program(&["diff", "--json", text(&before), text(&after)]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["changes"][0]["verdict"], "worse");
}

#[test]
fn a_file_that_is_no_result_is_told() {
    let directory = scratch("no-result");
    let file = directory.join("no-result.json");
    fs::write(&file, "{\"schema\": \"other/3\", \"kind\": \"run\"}").unwrap();
    for words in [&["report", text(&file)][..], &["diff", text(&file), text(&file)]] {
        let output = program(words);
        assert_eq!(output.status.code(), Some(2));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("no-result.json") && told.contains("other/3"), "{told}");
    }
}

#[test]
fn a_browser_shows_all_plots_and_complains_of_nothing() {
    let directory = scratch("browser");
    let Some(browser) = Browser::find(&directory) else { return };
    let hostile = ResultFile::Run(Box::new(example::hostile()));
    let [run, compare] = all_reports(&directory);
    for (html, plots) in [run, compare, (reported(&directory, "hostile", &hostile), HOSTILE_PLOTS)]
    {
        let name = html.display();
        let page = browser.open(&html);
        assert!(page.complaints.is_empty(), "{name}: {:#?}", page.complaints);
        let shown = page.dom.matches("class=\"plot wide\"").count()
            + page.dom.matches("class=\"plot bars\"").count();
        assert_eq!(shown, plots, "{name}");
        assert!(page.dom.contains("data-hover=\"ready\""), "{name}: its script ran");
        assert!(!page.dom.contains("<title>owned"), "{name}: a text of the result ran");
    }
}

#[test]
fn nothing_stands_over_something_else_on_a_phone_and_on_a_desk() {
    let directory = scratch("layout");
    let Some(browser) = Browser::find(&directory) else { return };
    let hostile = ResultFile::Run(Box::new(example::hostile()));
    let [run, compare] = all_reports(&directory);
    for (html, plots) in [run, compare, (reported(&directory, "hostile", &hostile), HOSTILE_PLOTS)]
    {
        for width in [PHONE_WIDTH, 690, 910, DESK.width] {
            let frame = framed(&html, width);
            let page = browser.open(&frame);
            let expected = format!("data-plots=\"{plots}\" data-found=\"nothing\"");
            let head = page.dom.split("<head>").next().unwrap_or_default();
            assert!(page.dom.contains(&expected), "{} at {width}: {head}", html.display());
        }
    }
}

#[test]
fn pictures_are_not_empty() {
    let directory = scratch("pictures");
    let Some(browser) = Browser::find(&directory) else { return };
    for (html, _) in all_reports(&directory) {
        let mut pictures = Vec::new();
        for is_dark in [false, true] {
            let out = |screen| html.with_extension(format!("{screen}-{is_dark}.png"));
            let screen = Screen { is_dark, ..DESK };
            pictures.push(browser.picture(&html, &out("desk"), screen));
            let phone = Screen { width: PHONE_WIDTH + 16, ..screen };
            let frame = framed(&html, PHONE_WIDTH);
            pictures.push(browser.picture(&frame, &out("phone"), phone));
        }
        for picture in &pictures {
            assert!(picture.starts_with(b"\x89PNG"), "{}", html.display());
            assert!(picture.len() > MIN_PICTURE_BYTES, "{}: {}", html.display(), picture.len());
        }
        assert_ne!(pictures[0], pictures[2], "dark is another picture than light");
    }
}

/// Makes a page that holds a copy of a report as on a screen of this width, with a script
/// that looks at the layout. Windows have a least width; frames have none.
fn framed(html: &Path, width: u32) -> PathBuf {
    let page = fs::read_to_string(html).expect("the report is there");
    // Only the copy may run another script.
    let policy = page.lines().find(|line| line.contains("Content-Security-Policy")).unwrap();
    let script = include_str!("layout.js");
    let page = page
        .replace(policy, "<meta charset=\"utf-8\">")
        .replace("</body>", &format!("<script>{script}</script></body>"));
    let page = page.replace('&', "&amp;").replace('"', "&quot;");
    let frame = html.with_extension(format!("{width}.html"));
    let text = format!(
        "<!DOCTYPE html><html><body style=\"margin:0\"><iframe srcdoc=\"{page}\" \
         style=\"border:0;width:{width}px;height:6000px\"></iframe></body></html>"
    );
    fs::write(&frame, text).expect("scratch is writable");
    frame
}
