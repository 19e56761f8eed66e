# From a fresh clone: `make test`, `make lint`, `make demo`. Each sets up .venv first, with whatever is missing; an interrupted
# set-up or demo goes on where it stopped.

# Python 3.11 or 3.12: what the pinned extras need. Set PYTHON to choose another.
PYTHON ?= $(shell for python in python3 python3.12 python3.11; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& { echo $$python; break; }; done)
VENV ?= .venv
EXTRAS ?= train,sim,arm,vla,openpi,ros,mcap,dev
PYTEST_ARGS ?=
DEMO_ARGS ?=
# Set it to clone anew what a demo would take from checkpoints/.
FROM_SCRATCH ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-input -c constraints.txt
# One thread a process: on a small machine, pools of torch and BLAS slow each other and the simulators down.
THREADS := OMP_NUM_THREADS=1

.PHONY: help venv test lint format urdf demo demo-state demo-arm ros-demo clean
.DEFAULT_GOAL := help

help:  ## Lists the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

venv: $(VENV)/.installed  ## Creates .venv with the pinned dependencies and this package, editable

test: venv  ## Runs all tests (PYTEST_ARGS="-m 'not slow'" for the fast ones)
	$(THREADS) $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: venv  ## Checks rules, layout and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv  ## Applies the layout and the rules that can mend themselves
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Run inside the folder, so that the header which xacro writes holds no path.
urdf: venv  ## Writes urdf/policytrim_arm.urdf from its xacro
	cd urdf && $(abspath $(BIN))/xacro policytrim_arm.urdf.xacro -o policytrim_arm.urdf

demo: venv  ## Trims a small VLA from pixels, from a base in checkpoints/; writes runs/demo/report.html. FROM_SCRATCH=1 clones it anew
	$(THREADS) $(BIN)/policytrim demo --pixels $(if $(FROM_SCRATCH),,--base checkpoints/pixels-gaussian/base) --out runs/demo$(if $(FROM_SCRATCH),-from-scratch) $(DEMO_ARGS)

demo-state: venv  ## Clones and trims a small policy on states, nothing but the environment to begin with; writes runs/demo-state/report.html
	$(THREADS) $(BIN)/policytrim demo --out runs/demo-state $(DEMO_ARGS)

demo-arm: venv  ## The same as demo-state for the robot arm, pushing in MuJoCo, then in PyBullet; writes runs/demo-arm/report.html
	$(THREADS) $(BIN)/policytrim demo --arm $(DEMO_ARGS)

ros-demo: venv  ## Runs the policies of demo-arm through ROS 2, beside Gymnasium; writes runs/ros-demo/report.html
	$(THREADS) $(BIN)/python -m policytrim_ros.demo $(DEMO_ARGS)

clean:  ## Removes what is built and cached; .venv and runs/ stay
	rm -rf build dist install log *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find policytrim_gym policytrim_ros tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written after its step has ended, so that a killed step is repeated; pip skips what is already whole.
$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "need Python 3.11 or 3.12 with venv (Debian: apt-get install python3-venv), or set PYTHON" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch comes first and pinned: as a dependency of another package pip may choose a much larger build.
$(VENV)/.torch: $(VENV)/.created constraints.txt
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	@touch $@

# openpi-client, which the tests compare with, asks for numpy below 2 and works with the pinned one.
$(VENV)/.installed: $(VENV)/.torch setup.py pyproject.toml policytrim_gym/version.py
	$(PIP) -e ".[$(EXTRAS)]"
	$(PIP) --no-deps "$$(grep '^openpi-client==' constraints.txt)"
	@touch $@
