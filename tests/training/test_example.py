"""The documentation's example runs as it says, on one process and on two."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = "examples/training_digits.py"


def test_accelerate_launch_runs_it_on_two_processes():
    commands = re.findall(r"^    (\w.*training_digits.*)$", (ROOT / EXAMPLE).read_text(), re.M)
    assert commands[1].startswith("accelerate launch --cpu --num_processes 2 ")
    ends = []
    for command in commands:
        words = command.split()
        module = ["-m", "accelerate.commands.launch"] if words[0] == "accelerate" else []
        found = subprocess.run(
            [
                sys.executable,
                *module,
                *words[2 if module else 1 :],
                "--seeds",
                "1",
                "--epochs",
                "8",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert found.returncode == 0, found.stderr
        lines = [line for line in found.stdout.splitlines() if line.startswith("kexue")]
        assert len(lines) == 1  # one process speaks
        ends.append(float(re.search(r"accuracy (\d\.\d+)", lines[0])[1]))
    # nothing random but the order and the start, which all processes share
    assert ends[0] == ends[1] > 0.85
