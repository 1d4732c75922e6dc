//! `record` and `replay`, through the commands.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use netcluster_client::{Client, Encoding, Source};
use support::{
    Broker, Directory, PATIENCE, Process, Signal, backends, command, has_signals, wait_until,
};

/// Scripts for Python's `mcap`, which nothing of this project has a part in.
const READ: &str = "
import sys, json
from mcap.reader import make_reader, NonSeekingReader
for kind in (make_reader, lambda file: NonSeekingReader(file, validate_crcs=True)):
    with open(sys.argv[1], 'rb') as file:
        assert kind(file).get_header().profile == 'netcluster'
    with open(sys.argv[1], 'rb') as file:
        (metadata,) = list(kind(file).iter_metadata())
        assert metadata.metadata['channel'] == 'default', metadata
    with open(sys.argv[1], 'rb') as file:
        reader = kind(file)
        seen = []
        for schema, channel, message in reader.iter_messages():
            assert schema is None and message.log_time == message.publish_time
            seen.append([channel.topic, channel.message_encoding, channel.metadata.get('node'),
                         message.sequence, message.data.decode('latin-1')])
        print(json.dumps(seen))
with open(sys.argv[1], 'rb') as file:
    summary = make_reader(file, validate_crcs=True).get_summary()
    print(summary.statistics.message_count, len(summary.channels))
";

const WRITE: &str = "
import sys
from mcap.writer import Writer, CompressionType
for path, compression in ((sys.argv[1], CompressionType.NONE), (sys.argv[2], CompressionType.ZSTD)):
    with open(path, 'wb') as file:
        writer = Writer(file, compression=compression)
        writer.start()
        schema = writer.register_schema('any', 'jsonschema', b'{}')
        for topic, encoding in (('a.*', 'cdr'), ('/robot/pose', 'json'), ('raw', 'cdr')):
            channel = writer.register_channel(topic, encoding, schema)
            writer.add_message(channel, log_time=5, publish_time=3, data=b'{\"x\": 1}')
        writer.finish()
";

/// Starts to record, and returns once it does.
fn record(broker: &Broker, file: &Path, options: &[&str]) -> Process {
    let mut command = broker.command(&["record"]);
    command.arg(file).args(options);
    let process = Process::start(command);
    process.wait_for_notice("recording ");
    process
}

/// Reads a recording to its end.
fn dry_run(file: &Path) -> support::Done {
    let mut command = command(["replay", "--dry-run"]);
    command.arg(file);
    Process::start(command).finish()
}

type Heard = BTreeMap<u8, Vec<(String, Encoding, Vec<u8>)>>;

/// Gathers so many events by the number of their emitter, the first byte of the data.
fn gather(subscription: netcluster_client::Subscription, events: usize) -> Heard {
    let mut heard = Heard::new();
    for _ in 0..events {
        let message = subscription.recv_timeout(PATIENCE).unwrap();
        let data = message.payload().to_vec();
        let entry = (message.event().to_owned(), message.encoding(), data);
        heard.entry(entry.2[0]).or_default().push(entry);
    }
    heard
}

#[test]
fn what_three_emitters_emitted_is_replayed_as_it_was() {
    const EMITTERS: u8 = 3;
    const EVENTS: usize = 100_000;
    if !has_signals() {
        return;
    }
    for backend in backends() {
        let broker = Broker::start(backend);
        let file = broker.directory.join("run.mcap");
        let recorder = record(&broker, &file, &["--queue", "backpressure"]);
        let listener = Client::connect(broker.socket()).unwrap();
        let original = listener.subscribe("**").unwrap();
        let each = EVENTS / usize::from(EMITTERS);
        let events = each * usize::from(EMITTERS);
        let emit = |number: u8| {
            let emitter = Client::connect(broker.socket()).unwrap();
            for sequence in 0..each {
                let encoding = Encoding::ALL[sequence % 3];
                let mut data = vec![number];
                data.extend_from_slice(&vec![sequence as u8; sequence % 50]);
                data.extend_from_slice(&sequence.to_le_bytes());
                let name = format!("from.{number}.{}", sequence % 7);
                emitter.emit_encoded(&name, encoding, data).unwrap();
            }
            emitter.disconnect().unwrap();
        };
        let original = thread::scope(|scope| {
            let gathering = scope.spawn(move || gather(original, events));
            for number in 0..EMITTERS {
                scope.spawn(move || emit(number));
            }
            gathering.join().unwrap()
        });
        recorder.signal(Signal::TERM);
        let told = recorder.finish().succeeded().stderr;
        assert!(told.contains(&format!("recorded {events} events of ")), "{backend}: {told}");
        assert!(!told.contains("lost"), "{backend}: {told}");

        let replayed = listener.subscribe("**").unwrap();
        let gathering = thread::spawn(move || gather(replayed, events));
        let mut replay = broker.command(&["replay", "--speed", "max"]);
        replay.arg(&file);
        let done = Process::start(replay).finish().succeeded();
        assert!(done.stderr.contains(&format!("emitted {events} events of ")), "{done:?}");
        let replayed = gathering.join().unwrap();
        for (number, expected) in &original {
            assert_eq!(expected.len(), each);
            assert!(replayed[number] == *expected, "{backend}: emitter {number}");
        }
    }
}

#[test]
fn sources_and_numbers_are_recorded() {
    let broker = Broker::start_with("auto", &["--node-id", "beef"]);
    let file = broker.directory.join("run.mcap");
    let recorder = record(&broker, &file, &["--events", "log.*", "--max-size", "16KiB"]);
    let emitter = Client::connect(broker.socket()).unwrap();
    emitter.emit("other", "not recorded").unwrap();
    emitter.emit_text("log.web", "hello").unwrap();
    emitter.emit_encoded("log.db", Encoding::Json, "{\"a\":1}").unwrap();
    emitter.emit("log.big", vec![0; 16 << 10]).unwrap();
    let done = recorder.finish().succeeded();
    assert!(done.stderr.contains("as large as --max-size allows"), "{done:?}");
    assert!(done.stderr.contains("recorded 2 events of 12 bytes"), "{done:?}");
    let mut print = command(["replay", "--print", "json"]);
    print.arg(&file);
    let done = Process::start(print).finish().succeeded();
    let Source { client, .. } = emitter.source();
    let source = format!("\"source\":{{\"node\":\"0000beef\",\"client\":{client}}}");
    let expected = format!(
        "{{\"event\":\"log.web\",{source},\"sequence\":2,\"encoding\":\"text\",\"data\":\"hello\"}}\n\
         {{\"event\":\"log.db\",{source},\"sequence\":3,\"encoding\":\"json\",\"data\":{{\"a\":1}}}}\n"
    );
    assert_eq!(done.stdout, expected);
}

/// The channel is recorded, and is where it is replayed unless one is asked for.
#[test]
fn a_recording_is_replayed_where_and_when_it_was_heard() {
    const DISTANCE: Duration = Duration::from_millis(300);
    let broker = Broker::start("auto");
    let file = broker.directory.join("run.mcap");
    let recorder = record(&broker, &file, &["--channel", "red", "--duration", "2s"]);
    broker.run(&["emit", "log", "first", "--channel", "red"]).succeeded();
    thread::sleep(DISTANCE);
    broker.run(&["emit", "log", "second", "--channel", "red"]).succeeded();
    let done = recorder.finish().succeeded();
    assert!(done.stderr.contains("recorded 2 events of 11 bytes"), "{done:?}");
    let replay = |options: &[&str], channel: &str| {
        let on = broker.on(&["**", "--count", "2", "--channel", channel]);
        let mut replay = broker.command(&["replay"]);
        replay.arg(&file).args(options);
        let begun = Instant::now();
        Process::start(replay).finish().succeeded();
        assert_eq!(on.finish().succeeded().stdout, "log first\nlog second\n");
        begun.elapsed()
    };
    assert!(replay(&[], "red") >= DISTANCE);
    assert!(replay(&["--speed", "0.5", "--channel", "blue"], "blue") >= 2 * DISTANCE);
}

#[test]
fn a_recording_overwrites_nothing() {
    let broker = Broker::start("auto");
    let directory = Directory::new();
    directory.file("run.mcap", "mine");
    directory.file("other.7.mcap", "mine");
    for (name, there) in [("run.mcap", "run.mcap"), ("other.mcap", "other.7.mcap")] {
        let mut record = broker.command(&["record"]);
        record.arg(directory.join(name));
        Process::start(record).finish().failed(2, &format!("{there} is there already"));
        assert_eq!(std::fs::read_to_string(directory.join(there)).unwrap(), "mine");
    }
    assert!(!directory.join("other.mcap").exists());
}

/// The file is cut, and what was written is replayed.
#[test]
fn a_killed_recorder_leaves_what_it_had_written() {
    const EVENTS: usize = 1000;
    if !has_signals() {
        return;
    }
    let broker = Broker::start("auto");
    let file = broker.directory.join("run.mcap");
    let recorder = record(&broker, &file, &["--queue", "backpressure"]);
    let before = file.metadata().unwrap().len();
    let emitter = Client::connect(broker.socket()).unwrap();
    for number in 0..EVENTS {
        emitter.emit("log", number.to_le_bytes()).unwrap();
    }
    emitter.disconnect().unwrap();
    let whole = before + (EVENTS * 8) as u64;
    wait_until("it is written", || file.metadata().unwrap().len() > whole);
    recorder.signal(Signal::KILL);
    assert!(!recorder.finish().status.success());
    let done = dry_run(&file).failed(1, "it ends in the middle");
    assert!(done.stderr.contains("would emit 1000 events of 8000 bytes"), "{done:?}");
}

/// A recorder that is stopped for a while delays nobody, and says what it has missed.
#[cfg(unix)]
#[test]
fn what_a_slow_recorder_loses_is_recorded() {
    const EVENTS: u64 = 2000;
    if !has_signals() {
        return;
    }
    for backend in backends() {
        let broker =
            Broker::start_with(backend, &["--max-queue", "64KiB", "--max-payload", "8KiB"]);
        let file = broker.directory.join("run.mcap");
        let recorder = record(&broker, &file, &[]);
        let emitter = Client::connect(broker.socket()).unwrap();
        recorder.signal(Signal::STOP);
        for _ in 0..EVENTS {
            emitter.emit("log", [7; 4096]).unwrap();
        }
        emitter.disconnect().unwrap();
        recorder.signal(Signal::CONT);
        recorder.signal(Signal::TERM);
        let told = recorder.finish().succeeded().stderr;
        let number = |text: &str, before: &str| -> u64 {
            let rest =
                &text[text.find(before).unwrap_or_else(|| panic!("{text}")) + before.len()..];
            rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
        };
        let (recorded, lost) = (number(&told, "recorded "), number(&told, "lost at least "));
        assert!(lost > 0, "{backend}: {told}");
        assert_eq!(recorded + lost, EVENTS, "{backend}: {told}");
        let told = dry_run(&file).succeeded().stderr;
        assert_eq!(number(&told, "would emit "), recorded, "{backend}: {told}");
        assert_eq!(number(&told, "at least "), lost, "{backend}: {told}");
    }
}

/// The disk is a file system of 1 MB in a mount namespace of the recorder's own.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_the_recorder_and_nothing_else() {
    const EVENTS: usize = 3000;
    if !support::has_machines(&["unshare", "mount"]) {
        return;
    }
    for backend in backends() {
        let broker = Broker::start(backend);
        let disk = broker.directory.join("disk");
        std::fs::create_dir(&disk).unwrap();
        let script = "mount -t tmpfs -o size=1m tmpfs \"$1\"\n\
             \"$0\" record \"$1/run.mcap\" --queue backpressure --socket \"$2\"; code=$?\n\
             \"$0\" replay \"$1/run.mcap\" --dry-run || exit 99\n\
             exit $code";
        let mut shell = Command::new("unshare");
        shell.args(["--mount", "sh", "-c", script]).arg(command([""; 0]).get_program());
        shell.arg(&disk).arg(broker.socket());
        let recorder = Process::start(shell);
        recorder.wait_for_notice("recording ");
        let on = broker.on(&["log", "--count", &EVENTS.to_string(), "--format", "raw"]);
        let emitter = Client::connect(broker.socket()).unwrap();
        for _ in 0..EVENTS {
            emitter.emit("log", "x".repeat(1000)).unwrap();
        }
        emitter.disconnect().unwrap();
        let done = on.finish().succeeded();
        assert_eq!(done.stdout.lines().count(), EVENTS, "{backend}");
        let done = recorder.finish().failed(1, "No space left on device");
        let read = done.stderr.split("would emit ").nth(1).unwrap_or_else(|| panic!("{done:?}"));
        let read: usize = read.split(' ').next().unwrap().parse().unwrap();
        assert!((500..1050).contains(&read), "{backend}: {done:?}");
        broker.run(&["emit", "log", "it goes on"]).succeeded();
    }
}

/// The disk is a file system of the recorder's own, which stands still: whoever writes waits.
#[cfg(target_os = "linux")]
#[test]
fn the_end_is_heard_while_the_disk_hangs_and_the_file_is_whole_when_it_goes_on() {
    const EVENTS: usize = 1000;
    if !support::has_machines(&["unshare", "mount", "losetup", "mkfs.ext4", "fsfreeze"]) {
        return;
    }
    let broker = Broker::start("auto");
    let disk = broker.directory.join("disk");
    std::fs::create_dir(&disk).unwrap();
    // It goes on by itself should the test fail.
    let script = "truncate -s 16M \"$1.img\" && mkfs.ext4 -q \"$1.img\" || exit 98\n\
         mount -o loop \"$1.img\" \"$1\" || { echo no loop; exit 97; }\n\
         \"$0\" record \"$1/run.mcap\" --socket \"$2\" & recorder=$!\n\
         read line; fsfreeze -f \"$1\"; (sleep 100; fsfreeze -u \"$1\") >/dev/null 2>&1 & later=$!\n\
         echo frozen; read line; kill -TERM $recorder; read line\n\
         kill $later; fsfreeze -u \"$1\"; wait $recorder; code=$?\n\
         \"$0\" replay \"$1/run.mcap\" --dry-run; umount \"$1\"; exit $code";
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", script]).arg(command([""; 0]).get_program());
    shell.arg(&disk).arg(broker.socket());
    let (mut recorder, mut step) = Process::start_with_pipe(shell);
    recorder.wait_for_notice("recording ");
    let emitter = Client::connect(broker.socket()).unwrap();
    std::io::Write::write_all(&mut step, b"\n").unwrap();
    assert_eq!(recorder.line(), "frozen");
    // More than is gathered, so that it is being written.
    for _ in 0..EVENTS {
        emitter.emit("log", "x".repeat(1000)).unwrap();
    }
    emitter.ping().unwrap();
    std::io::Write::write_all(&mut step, b"\n").unwrap();
    recorder.wait_for_notice("does not end yet");
    std::io::Write::write_all(&mut step, b"\n").unwrap();
    let done = recorder.finish().succeeded();
    let told = format!("would emit {EVENTS} events");
    assert!(done.stderr.contains(&told), "{done:?}");
    broker.run(&["emit", "log", "it goes on"]).succeeded();
}

/// Returns Python with its `mcap`, or says that there is none.
fn python() -> Option<Command> {
    let mut python = Command::new("python3");
    let found = python.args(["-c", "import mcap, zstandard"]).output();
    if !found.is_ok_and(|found| found.status.success()) {
        println!("SKIPPED: python3 has no module `mcap`, an independent reader");
        return None;
    }
    Some(Command::new("python3"))
}

#[test]
fn others_read_what_is_recorded() {
    let Some(mut python) = python() else { return };
    let broker = Broker::start_with("auto", &["--node-id", "beef"]);
    let file = broker.directory.join("run.mcap");
    let recorder = record(&broker, &file, &["--duration", "2s"]);
    let emitter = Client::connect(broker.socket()).unwrap();
    emitter.emit("log.web", b"\xff\0").unwrap();
    emitter.emit_text("log.web", "hello").unwrap();
    emitter.emit_encoded("log.db", Encoding::Json, "{}").unwrap();
    emitter.disconnect().unwrap();
    recorder.finish().succeeded();
    python.args(["-c", READ]).arg(&file);
    let printed = Process::start(python).finish().succeeded().stdout;
    let lines: Vec<&str> = printed.lines().collect();
    let expected = serde_json::json!([
        ["log.web", "bytes", "0000beef", 1, "\u{ff}\0"],
        ["log.web", "text", "0000beef", 2, "hello"],
        ["log.db", "json", "0000beef", 3, "{}"],
    ]);
    for line in &lines[..2] {
        assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap(), expected);
    }
    assert_eq!(lines[2], "3 3");
}

#[test]
fn what_others_recorded_is_replayed_as_far_as_it_has_names_of_events() {
    let Some(mut python) = python() else { return };
    let broker = Broker::start("auto");
    let (plain, packed) = (broker.directory.join("plain"), broker.directory.join("packed"));
    python.args(["-c", WRITE]).arg(&plain).arg(&packed);
    Process::start(python).finish().succeeded();
    let on = broker.on(&["**", "--count", "2", "--format", "json"]);
    let mut replay = broker.command(&["replay"]);
    replay.arg(&plain);
    let done = Process::start(replay).finish().succeeded();
    let left_out = ["topic `a.*` is no name of an event", "left out 1"];
    assert!(left_out.iter().all(|words| done.stderr.contains(words)), "{done:?}");
    let heard = on.finish().succeeded().stdout;
    assert!(heard.contains("\"event\":\"/robot/pose\""), "{heard}");
    assert!(heard.contains("\"encoding\":\"json\",\"data\":{\"x\":1}"), "{heard}");
    assert!(heard.contains("\"event\":\"raw\"") && heard.contains("data_base64"), "{heard}");
    dry_run(&packed).failed(1, "compressed by `zstd`");
}

#[test]
fn a_replay_ends_with_the_broker_and_says_how_far_it_came() {
    if !has_signals() {
        return;
    }
    let broker = Broker::start("auto");
    let file = broker.directory.join("run.mcap");
    let recorder = record(&broker, &file, &["--duration", "2s"]);
    broker.run(&["emit", "log", "x"]).succeeded();
    recorder.finish().succeeded();
    let (sender, heard) = mpsc::channel();
    let listener = Client::connect(broker.socket()).unwrap();
    let tell = move |_: &netcluster_client::Message<'_>| {
        let _ = sender.send(());
    };
    listener.on("log", tell).unwrap();
    let mut replay = broker.command(&["replay", "--loop"]);
    replay.arg(&file);
    let replay = Process::start(replay);
    for _ in 0..100 {
        heard.recv_timeout(PATIENCE).unwrap();
    }
    broker.process.signal(Signal::TERM);
    replay.finish().failed(3, " events");
}
