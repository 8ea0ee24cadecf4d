//! The media socket against the kernel: what goes in comes out, in as few calls as it can be told.

use super::*;

fn batch_of(lens: &[(Path, usize)]) -> TransmitBatch {
    let mut batch = TransmitBatch::new(1 << 20, 512);
    for (index, &(path, len)) in lens.iter().enumerate() {
        batch.push(path, |out| {
            out[..len].fill(index as u8);
            len
        });
    }
    batch
}

fn path_to(remote: SocketAddr) -> Path {
    Path { local: LocalSocket(0), remote }
}

/// A socket that takes anything.
fn open(address: SocketAddr) -> MediaSocket {
    MediaSocket::open(address, &[]).expect("bind")
}

fn drain(socket: &MediaSocket) -> Vec<Vec<u8>> {
    let mut batch = ReceiveBatch::new();
    let mut all = Vec::new();
    for _ in 0..200 {
        batch.receive(socket);
        batch.for_each(|_, _, datagram| all.push(datagram.to_vec()));
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    all
}

#[test]
fn merges_equal_neighbours_and_lets_only_the_last_be_shorter() {
    let a = path_to("127.0.0.1:1000".parse().expect("address"));
    let b = path_to("127.0.0.1:1001".parse().expect("address"));
    let batch = batch_of(&[(a, 100), (a, 100), (a, 60), (a, 100), (b, 100), (b, 120)]);
    let mut runs = Vec::new();
    merge_runs(batch.datagrams(), 12, &mut runs);
    let shape: Vec<_> = runs.iter().map(|run| (run.path, run.datagrams, run.len)).collect();
    assert_eq!(shape, [(a, 3, 260), (a, 1, 100), (b, 1, 100), (b, 1, 120)]);
}

#[test]
fn caps_a_message_at_its_segments() {
    let a = path_to("127.0.0.1:1000".parse().expect("address"));
    let batch = batch_of(&[(a, 100); 30]);
    let mut runs = Vec::new();
    merge_runs(batch.datagrams(), 12, &mut runs);
    assert_eq!(runs.iter().map(|run| run.datagrams).collect::<Vec<_>>(), [12, 12, 6]);
}

#[test]
fn every_datagram_arrives_whole_and_in_order_over_ipv4_and_ipv6() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let address: SocketAddr = address.parse().expect("address");
        let receiver = open(address);
        let mut sockets = [open(address)];
        let path = path_to(receiver.address());
        let lens = [1200, 1200, 1200, 700, 1200, 1199, 1200, 40, 1, 1200];
        let batch = batch_of(&lens.map(|len| (path, len)));
        let sent = Sender::new(64).send(&mut sockets, &batch);
        assert_eq!((sent.datagrams, sent.refused), (10, 0));
        assert!(sent.calls <= 2, "one call, or two where the kernel refused to segment");
        let got = drain(&receiver);
        let want: Vec<Vec<u8>> = lens.iter().enumerate().map(|(i, &len)| vec![i as u8; len]).collect();
        assert_eq!(got, want);
    }
}

#[test]
fn a_refused_message_does_not_stop_the_others() {
    let receiver = open("127.0.0.1:0".parse().expect("address"));
    let mut sockets = [open("127.0.0.1:0".parse().expect("address"))];
    let good = path_to(receiver.address());
    // Port 0 is refused by the kernel with EINVAL.
    let bad = path_to("127.0.0.1:0".parse().expect("address"));
    let batch = batch_of(&[(good, 10), (bad, 10), (bad, 10), (good, 11)]);
    let sent = Sender::new(64).send(&mut sockets, &batch);
    assert_eq!((sent.datagrams, sent.refused), (2, 2));
    assert_eq!(drain(&receiver).iter().map(Vec::len).collect::<Vec<_>>(), [10, 11]);
}

#[test]
fn tells_how_long_a_datagram_waited() {
    let receiver = open("127.0.0.1:0".parse().expect("address"));
    let mut sockets = [open("127.0.0.1:0".parse().expect("address"))];
    Sender::new(8).send(&mut sockets, &batch_of(&[(path_to(receiver.address()), 10)]));
    std::thread::sleep(Duration::from_millis(60));
    let mut batch = ReceiveBatch::new();
    batch.receive(&receiver);
    let mut ages = Vec::new();
    batch.for_each(|_, age, _| ages.push(age));
    assert!(ages.len() == 1 && ages[0] >= Duration::from_millis(50) && ages[0] <= AGE_MAX, "{ages:?}");
}

#[test]
fn counts_what_the_kernel_dropped() {
    let mut receiver = open("127.0.0.1:0".parse().expect("address"));
    receiver.socket.set_recv_buffer_size(4096).expect("buffer");
    let mut sockets = [open("127.0.0.1:0".parse().expect("address"))];
    // Growing sizes share no message, so that the kernel's count is one of datagrams.
    let lens: Vec<_> = (0..100).map(|i| (path_to(receiver.address()), 500 + i)).collect();
    Sender::new(128).send(&mut sockets, &batch_of(&lens));
    let dropped = 100 - drain(&receiver).len() as u64;
    assert!(dropped > 0);
    assert_eq!(receiver.poll_drops(), dropped);
    assert_eq!(receiver.poll_drops(), dropped, "as long as nothing more is dropped");
}

#[test]
fn gets_the_receive_buffer_that_it_asks_for_or_tells_how_much_less() {
    let socket = open("127.0.0.1:0".parse().expect("address"));
    let limit = std::fs::read_to_string("/proc/sys/net/core/rmem_max").expect("Linux");
    let limit: usize = limit.trim().parse().expect("a number");
    let granted = socket.receive_buffer();
    assert!(granted == RECEIVE_BUFFER || granted == limit.min(RECEIVE_BUFFER), "{granted} of {RECEIVE_BUFFER}");
}

#[test]
fn refused_datagrams_count_as_drops() {
    let mut receiver = MediaSocket::bind("127.0.0.1:0".parse().expect("address")).expect("bind");
    let mut sockets = [open("127.0.0.1:0".parse().expect("address"))];
    // Too short for anything.
    let lens: Vec<_> = (1..8).map(|len| (path_to(receiver.address()), len)).collect();
    Sender::new(128).send(&mut sockets, &batch_of(&lens));
    assert_eq!(drain(&receiver), [[0; 0]; 0]);
    assert_eq!(receiver.poll_drops(), 7);
}

#[test]
fn a_filter_that_the_kernel_refuses_leaves_a_socket_that_works() {
    // A program must end with a return.
    let broken = [SockFilter::new(0x30, 0, 0, 0)];
    let receiver = MediaSocket::open("127.0.0.1:0".parse().expect("address"), &broken).expect("bind");
    assert!(!receiver.is_filtered());
    let mut sockets = [open("127.0.0.1:0".parse().expect("address"))];
    Sender::new(8).send(&mut sockets, &batch_of(&[(path_to(receiver.address()), 10)]));
    assert_eq!(drain(&receiver).len(), 1);
}
