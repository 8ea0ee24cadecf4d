"""Draws docs/images/performance-*.svg from the figures in docs/performance/.

    plots.py FIGURES PICTURES      scripts/plots.sh calls it with the right Python

Each picture names in its caption in docs/performance.md the command that made its figures. A picture whose figures are
not there is left as it is. compare.json and scaling.json are lists of runs of scripts/compare.sh; worker.txt is what
`make bench-worker` printed.
"""

import json
import re
import statistics
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first)
from matplotlib.ticker import FuncFormatter, NullFormatter  # noqa: E402

OURS, OTHER, LIMIT, PLAIN = "#0b6e6e", "#c2611f", "#6b7280", "#a3a9b5"
STYLE = {
    "svg.hashsalt": "colloque",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
NAMES = {"colloque": "Colloque", "janus": "Janus 1.1.2"}
TITLES = {
    "webinar": "webinar\n1 to {}",
    "consultation": "consultation\n{} rooms of 2",
    "audio": "audio\n{} rooms of 2",
}


def scenario(run):
    return run["case"].rsplit("-", 1)[0]


def size(run):
    return int(run["case"].rsplit("-", 1)[1])


def title(case):
    name, number = case.rsplit("-", 1)
    return TITLES.get(name, name + "\n{}").format(number)


def cpu(run):
    """Microseconds of processor time for each forwarded packet."""
    return run["report"]["server_cpu_ns_per_forwarded_packet"] / 1000


def memory(run):
    """KiB that the load added, for each participant."""
    report = run["report"]
    return (report["server_rss_bytes"] - report["server_rss_before_bytes"]) / report["participants"] / 1024


def latency(percentile):
    return lambda run: run["report"]["latency_us"][percentile] / 1000


def spread(values):
    """Median and what errorbar wants: the way down to the smallest and up to the largest."""
    middle = statistics.median(values)
    return middle, middle - min(values), max(values) - middle


def spreads(groups):
    middles, down, up = zip(*(spread(group) for group in groups), strict=True)
    return list(middles), [list(down), list(up)]


def short(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def plain_log(axis):
    """Numbers as people write them, instead of powers of ten."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def side_by_side(runs):
    """Bars: what each server spends, and how late packets come."""
    cases = list(dict.fromkeys(run["case"] for run in runs))
    servers = [name for name in NAMES if any(run["server"] == name for run in runs)]
    panels = [
        ("CPU time per forwarded packet", "microseconds", cpu),
        ("memory per participant", "KiB above the idle server", memory),
        ("one-way latency, 99th percentile", "milliseconds", latency("p99")),
    ]
    figure, axes = plt.subplots(len(panels), 1, figsize=(7.6, 9.2))
    for axis, (name, unit, value) in zip(axes, panels, strict=True):
        for offset, (server, colour) in enumerate(zip(servers, (OURS, OTHER), strict=False)):
            groups = [[value(run) for run in runs if (run["case"], run["server"]) == (case, server)] for case in cases]
            middles, errors = spreads(groups)
            places = [place + (offset - 0.5) * 0.38 for place in range(len(cases))]
            axis.bar(places, middles, 0.36, color=colour, label=NAMES[server])
            axis.errorbar(places, middles, errors, fmt="none", ecolor="#1f2937", elinewidth=1, capsize=2)
            for place, middle, up in zip(places, middles, errors[1], strict=True):
                axis.annotate(short(middle), (place, middle + up), (0, 3), textcoords="offset points", ha="center")
        axis.margins(y=0.15)
        axis.set_xticks(range(len(cases)), [title(case) for case in cases])
        axis.tick_params(axis="x", length=0)
        axis.grid(axis="x", visible=False)
        axis.set_title(name)
        axis.set_ylabel(unit)
    axes[0].legend(ncols=2, loc="upper left", bbox_to_anchor=(0.62, 1.17))
    return figure


def latency_distribution(runs):
    """Which share of packets is later than a given time; straight down is good."""
    cases = list(dict.fromkeys(run["case"] for run in runs if run["report"].get("latency_curve")))
    if not cases:
        return None
    columns = 2 if len(cases) > 1 else 1
    figure, axes = plt.subplots(
        -(-len(cases) // columns), columns, figsize=(7.6, 3.0 * -(-len(cases) // columns)), sharex=True, sharey=True,
        squeeze=False,
    )
    for axis, case in zip(axes.flat, cases, strict=False):
        for server, colour in (("colloque", OURS), ("janus", OTHER)):
            own = [run["report"]["latency_curve"] for run in runs if (run["case"], run["server"]) == (case, server)]
            for number, curve in enumerate(own):
                points = [(micros / 1000, 100 * (1 - share)) for share, micros in curve if share < 1]
                label = NAMES[server] if number == 0 else None
                axis.plot(*zip(*points, strict=True), color=colour, linewidth=1.3, alpha=0.8, label=label)
        axis.set_xscale("log")
        axis.set_yscale("log")
        plain_log(axis.xaxis)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
        axis.set_title(title(case).replace("\n", ", "))
        axis.legend(loc="lower left")
    for axis in axes[-1]:
        axis.set_xlabel("one-way latency, milliseconds (log)")
    for axis in axes[:, 0]:
        axis.set_ylabel("packets that are later")
    return figure


def alone(runs, name, server="colloque"):
    own = [run for run in runs if scenario(run) == name and run["server"] == server]
    sizes = sorted({size(run) for run in own})
    return sizes, [[run for run in own if size(run) == one] for one in sizes]


def against_rooms(runs):
    """Cost and latency as consultations are added."""
    sizes, groups = alone(runs, "consultation")
    if len(sizes) < 2:
        return None
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7.6, 6.4), sharex=True)
    middles, errors = spreads([[cpu(run) for run in group] for group in groups])
    top.errorbar(sizes, middles, errors, color=OURS, marker="o", capsize=3)
    for place, middle in zip(sizes, middles, strict=True):
        top.annotate(short(middle), (place, middle), (5, 6), textcoords="offset points")
    top.set_ylim(0, max(middles) * 1.25)
    top.set_title("CPU time per forwarded packet")
    top.set_ylabel("microseconds")
    for percentile, marker, style in (("p50", "s", "--"), ("p99", "o", "-")):
        middles, errors = spreads([[latency(percentile)(run) for run in group] for group in groups])
        bottom.errorbar(sizes, middles, errors, color=OURS, marker=marker, linestyle=style, capsize=3, label=percentile)
    bottom.set_yscale("log")
    plain_log(bottom.yaxis)
    bottom.set_title("one-way latency")
    bottom.set_ylabel("milliseconds (log)")
    bottom.set_xlabel("consultations (rooms of 2), one worker")
    bottom.legend()
    return figure


def latency_against_rooms(runs):
    """Which share of packets came within a time, for each number of consultations; upright and left is good."""
    sizes, groups = alone([run for run in runs if run["report"].get("latency_curve")], "consultation")
    if not sizes:
        return None
    figure, axis = plt.subplots(figsize=(7.6, 4.2))
    shades = plt.get_cmap("viridis_r")
    for place, (rooms, group) in enumerate(zip(sizes, groups, strict=True)):
        # The points of all curves lie at the same shares: of several rounds the median is taken at each.
        by_share = zip(*(run["report"]["latency_curve"] for run in group), strict=True)
        points = [(statistics.median(micros for _, micros in same) / 1000, same[0][0]) for same in by_share]
        label = f"{rooms} room" if rooms == 1 else f"{rooms} rooms"
        colour = shades(0.1 + 0.9 * place / max(1, len(sizes) - 1))
        axis.plot(*zip(*points, strict=True), color=colour, linewidth=1.5, label=label)
    axis.set_xscale("log")
    plain_log(axis.xaxis)
    axis.set_yscale("logit")
    axis.set_yticks([0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999])
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_title("one-way latency of consultations, one worker")
    axis.set_xlabel("milliseconds (log)")
    axis.set_ylabel("packets that came by then")
    axis.legend(loc="lower right")
    return figure


def against_workers(runs):
    """Cost of a packet with more workers: flat is good."""
    labelled = {}
    for run in runs:
        found = re.fullmatch(r"colloque(?:-workers(\d+))?", run["server"])
        if found and scenario(run) == "consultation":
            labelled.setdefault(size(run), {}).setdefault(int(found[1] or 1), []).append(cpu(run))
    labelled = {rooms: by for rooms, by in labelled.items() if len(by) > 1}
    if not labelled:
        return None
    figure, axis = plt.subplots(figsize=(7.6, 3.6))
    for (rooms, by), colour in zip(sorted(labelled.items()), (OURS, OTHER, LIMIT), strict=False):
        workers = sorted(by)
        middles, errors = spreads([by[count] for count in workers])
        axis.errorbar(workers, middles, errors, color=colour, marker="o", capsize=3, label=f"{rooms} rooms of 2")
        for place, middle, up in zip(workers, middles, errors[1], strict=True):
            axis.annotate(short(middle), (place, middle + up), (0, 5), textcoords="offset points", ha="center")
        axis.set_xticks(workers)
    axis.set_ylim(0, axis.get_ylim()[1] * 1.15)
    axis.margins(x=0.15)
    axis.set_title("CPU time per forwarded packet")
    axis.set_ylabel("microseconds")
    axis.set_xlabel("workers")
    axis.legend(loc="lower left")
    return figure


def worker_rows(text):
    """The rows of bench-worker's table for bursts of video: viewers, ours, the probe's, the probe's with sendto."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        found = re.fullmatch(r"video, bursts of 8, (\d+) viewers?", cells[0])
        if found:
            yield int(found[1]), float(cells[1]), float(cells[2]), float(cells[5])


def against_subscribers(text):
    """The worker alone beside what the kernel and the cipher cost at least."""
    rows = sorted(worker_rows(text))
    if not rows:
        return None
    viewers, ours, limit, sendto = zip(*rows, strict=True)
    figure, axis = plt.subplots(figsize=(7.6, 4.2))
    for values, label, colour, line in (
        (sendto, "probe, one sendto for each packet", PLAIN, ":"),
        (ours, "Colloque's worker", OURS, "-"),
        (limit, "probe, sendmmsg with segmentation: the limit", LIMIT, "--"),
    ):
        axis.plot(viewers, values, color=colour, linestyle=line, marker="o", label=label)
    for place, value in zip(viewers, ours, strict=True):
        axis.annotate(f"{value:.0f}", (place, value), (0, 8), textcoords="offset points", ha="center", color=OURS)
    axis.set_xscale("log")
    axis.set_xticks(viewers, viewers)
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_ylim(0, max(sendto) * 1.3)
    axis.set_title("CPU time per forwarded packet, worker alone")
    axis.set_ylabel("nanoseconds")
    axis.set_xlabel("viewers of one 1200 B stream in bursts of 8 packets (log)")
    axis.legend(loc="upper right")
    return figure


PICTURES = [
    ("side-by-side", "compare.json", side_by_side),
    ("latency", "compare.json", latency_distribution),
    ("rooms", "scaling.json", against_rooms),
    ("latency-rooms", "scaling.json", latency_against_rooms),
    ("workers", "scaling.json", against_workers),
    ("subscribers", "worker.txt", against_subscribers),
]


def main(figures, pictures):
    plt.rcParams.update(STYLE)
    for name, source, draw in PICTURES:
        path = Path(figures, source)
        text = path.read_text() if path.exists() else None
        picture = text and draw(json.loads(text) if path.suffix == ".json" else text)
        if not picture:
            print(f"performance-{name}.svg: no figures in {source}, left as it is")
            continue
        to = Path(pictures, f"performance-{name}.svg")
        # Neither date nor version: the same figures give the same bytes.
        picture.savefig(to, metadata={"Date": None, "Creator": None})
        plt.close(picture)
        print(f"{to} from {source}")


if __name__ == "__main__":
    main(*sys.argv[1:])
