// Connection quality in one of three words, from two readings of getStats. A pure function and the reading beside it.

import type { Quality } from "./call-state.ts";

/** Sums over all streams, as counters since the connection began. */
export interface Reading {
  readonly received: number;
  readonly lost: number;
  /** What the server reports of our packets: the worst of its streams, 0 to 1. */
  readonly lostUpstream: number;
  readonly roundTripSeconds: number;
}

/** Speech with Opus stays clear up to about 5 % and turns hard to follow over 12 %. */
const LOSS = { weak: 0.05, poor: 0.12 } as const;
/** People begin to talk over each other at about 400 ms; at a second they cannot converse. */
const ROUND_TRIP_SECONDS = { weak: 0.4, poor: 1 } as const;

export function judge(before: Reading, now: Reading): Quality {
  const received = Math.max(0, now.received - before.received);
  const lost = Math.max(0, now.lost - before.lost);
  const down = received + lost === 0 ? 0 : lost / (received + lost);
  const loss = Math.max(down, now.lostUpstream);
  if (loss >= LOSS.poor || now.roundTripSeconds >= ROUND_TRIP_SECONDS.poor) return "poor";
  if (loss >= LOSS.weak || now.roundTripSeconds >= ROUND_TRIP_SECONDS.weak) return "weak";
  return "good";
}

export function readStats(report: RTCStatsReport): Reading {
  let received = 0;
  let lost = 0;
  let lostUpstream = 0;
  let roundTripSeconds = 0;
  report.forEach((entry: Record<string, unknown>) => {
    if (entry.type === "inbound-rtp") {
      received += numberOf(entry.packetsReceived);
      lost += numberOf(entry.packetsLost);
    } else if (entry.type === "remote-inbound-rtp") {
      lostUpstream = Math.max(lostUpstream, numberOf(entry.fractionLost));
    } else if (entry.type === "candidate-pair" && entry.nominated === true && entry.state === "succeeded") {
      roundTripSeconds = numberOf(entry.currentRoundTripTime);
    }
  });
  return { received, lost, lostUpstream, roundTripSeconds };
}

function numberOf(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}
