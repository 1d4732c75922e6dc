use super::*;

fn run() -> RunResult {
    RunResult {
        seconds: 2.0,
        scenario: ScenarioInfo { name: "s".into(), toml: "x = 1".into(), arguments: Vec::new() },
        machines: vec![MachineInfo { name: "a".into(), ..MachineInfo::default() }],
        series: vec![Series {
            role: "l".into(),
            machine: "a".into(),
            metric: "delivered_events".into(),
            unit: "events/s".into(),
            at_ms: vec![100, 200, 300],
            values: vec![1.5, f64::NAN, 3.0],
        }],
        latencies: vec![Latency::of_buckets(
            "l",
            "a",
            LatencyKind::OneWay,
            7,
            vec![(10, 2), (20, 1)],
        )],
        capacity: Some(Capacity { goal_p99_us: 500.0, steps: Vec::new(), found_per_s: None }),
        ..RunResult::default()
    }
}

fn compare() -> CompareResult {
    let cell = Cell { peer: "p".into(), load: "1".into(), metric: "m".into(), ..Cell::default() };
    CompareResult {
        loads: vec![LoadInfo { name: "1".into(), what: String::new() }],
        peers: vec![PeerInfo { name: "p".into(), ..PeerInfo::default() }],
        cells: vec![Cell { median: 2.0, low: 1.0, high: 3.0, ..cell }],
        ..CompareResult::default()
    }
}

fn error(result: ResultFile) -> String {
    result.to_json().expect_err("it contradicts itself").to_string()
}

#[test]
fn what_is_written_is_read_again() {
    let compare = ResultFile::Compare(Box::new(compare()));
    assert_eq!(ResultFile::parse(&compare.to_json().unwrap()).unwrap(), compare);

    // A gap is no number, so it equals nothing: the texts are compared.
    let text = ResultFile::Run(Box::new(run())).to_json().unwrap();
    assert!(text.contains("[1.5,null,3.0]"), "{text}");
    assert_eq!(ResultFile::parse(&text).unwrap().to_json().unwrap(), text);
}

#[test]
fn fields_of_a_later_minor_version_are_ignored() {
    let text = ResultFile::Run(Box::new(run())).to_json().unwrap();
    let text = text.replacen('{', "{\"new_field\": 1,", 1);
    assert!(ResultFile::parse(&text).is_ok());
}

#[test]
fn another_schema_is_named_in_the_error() {
    let text = ResultFile::Run(Box::new(run())).to_json().unwrap();
    let other = text.replace(SCHEMA, "netcluster-loadtest/9");
    let error = ResultFile::parse(&other).unwrap_err().to_string();
    assert!(error.contains("netcluster-loadtest/9") && error.contains(SCHEMA), "{error}");
    let other = text.replace("\"kind\":\"run\"", "\"kind\":\"walk\"");
    assert!(ResultFile::parse(&other).unwrap_err().to_string().contains("walk"));
}

#[test]
fn a_result_that_contradicts_itself_is_refused_with_the_place() {
    let with = |change: fn(&mut RunResult)| {
        let mut run = run();
        change(&mut run);
        error(ResultFile::Run(Box::new(run)))
    };
    assert!(with(|run| run.series[0].values.truncate(1)).contains("series[0]"));
    assert!(with(|run| run.series[0].at_ms.reverse()).contains("ascend"));
    assert!(with(|run| run.seconds = f64::NAN).contains("seconds"));
    assert!(with(|run| run.machines.push(run.machines[0].clone())).contains("machines"));
    assert!(with(|run| run.latencies[0].buckets_ns.reverse()).contains("latencies[0]"));
    assert!(with(|run| run.latencies[0].count = 9).contains("latencies[0]"));

    let mut twice = compare();
    twice.cells.push(twice.cells[0].clone());
    assert!(error(ResultFile::Compare(Box::new(twice))).contains("cells[1]"));
    let mut unknown = compare();
    unknown.cells[0].load = "2".into();
    assert!(error(ResultFile::Compare(Box::new(unknown))).contains("no load \"2\""));
}

#[test]
fn a_file_that_is_missing_is_named() {
    let error = ResultFile::read(Path::new("no-such-file.json")).unwrap_err();
    assert!(format!("{error:#}").contains("no-such-file.json"));
}

/// `diff` said nothing but "Is a directory".
#[test]
fn instead_of_a_directory_its_result_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let error = || format!("{:#}", ResultFile::read(directory.path()).unwrap_err());
    assert!(error().contains("`run --out`"), "{}", error());
    let file = directory.path().join(RESULT_FILE);
    fs::write(&file, "").unwrap();
    assert!(
        error().ends_with(&format!("give the result in it, {}", file.display())),
        "{}",
        error()
    );
}
