"""One thread: in networks this small, several wait for each other, for long on a busy machine."""

import os

import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start
