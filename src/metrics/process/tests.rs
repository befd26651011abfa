use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use super::*;

fn rendered(process: Process) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(process));
    let mut rendered = String::new();
    text::encode(&mut rendered, &registry).unwrap();
    rendered
}

#[test]
fn what_the_kernel_counts_is_told_in_base_units() {
    let rendered = rendered(Process::example());
    for line in ["process_cpu_seconds_total 13.0", "process_resident_memory_bytes 2097152", "process_open_fds 3"] {
        assert!(rendered.lines().any(|told| told == line), "{line} is not in:\n{rendered}");
    }
}

#[test]
fn where_there_is_nothing_to_read_only_the_start_is_told() {
    let rendered = rendered(Process::at(PathBuf::from("/nowhere")));
    let samples: Vec<_> = rendered.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(matches!(samples[..], [start] if start.starts_with("process_start_time_seconds ")), "{samples:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn this_process_has_memory_and_files_and_its_time_goes_on() {
    let process = Process::this();
    assert!(process.resident().unwrap() > 1 << 20);
    assert!(process.open_files().unwrap() >= 3);
    let before = process.cpu().unwrap();
    let mut sum = 0_u64;
    while process.cpu().unwrap() < before + 0.05 {
        sum = (0..10_000).fold(std::hint::black_box(sum), u64::wrapping_add);
    }
}
