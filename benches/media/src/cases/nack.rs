//! A viewer's NACK: the report in, the packets out again on the retransmission stream.

use std::hint::black_box;

use crate::ids::Ssrc;
use crate::rtp::packet::RtpHeader;
use crate::transport::batch::{LocalSocket, Path};

use super::fan_out::FanOut;
use super::{BURST, Case, Row};

pub(super) fn rows() -> Vec<Row> {
    vec![Row::new("nack/1200".into(), "packet sent again", LOST as u64, Nack::new)]
}

/// A viewer that loses a quarter of each burst; more than half would be refused.
struct Nack {
    call: FanOut,
    path: Path,
    report: Vec<u8>,
}

impl Nack {
    fn new() -> Self {
        let call = FanOut::new(1, 1200);
        let path = Path { local: LocalSocket(0), remote: call.world.people[1].address };
        Self { call, path, report: Vec::new() }
    }
}

impl Case for Nack {
    fn prepare(&mut self) {
        self.call.prepare();
        self.call.forward();
        self.call.check();
        let batch = &mut self.call.batch;
        let headers = batch
            .datagrams()
            .iter()
            .map(|datagram| RtpHeader::parse_protected(batch.bytes(datagram)).expect("a header that stays readable"));
        let headers: Vec<RtpHeader> = headers.collect();
        batch.clear();
        let lost = headers.iter().step_by(BURST / LOST).map(|header| header.sequence);
        let viewer = &mut self.call.world.people[1];
        viewer.send_rtcp(|writer| writer.nack(Ssrc(1), headers[0].ssrc, lost));
        self.report = viewer.outbox.pop().expect("a sealed report");
    }

    fn run(&mut self) {
        let FanOut { world, batch, .. } = &mut self.call;
        world.sfu.handle_datagram(world.now, world.now, self.path, black_box(&mut self.report), batch);
    }

    fn check(&mut self) {
        assert_eq!(self.call.batch.datagrams().len(), LOST, "every lost packet once more");
    }
}

const LOST: usize = 2;
