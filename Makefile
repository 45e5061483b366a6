.PHONY: setup demo test check bench docs constraints

setup:
	script/setup

demo:
	script/demo

test:
	script/test

check:
	script/check

bench: setup
	for each in $$(grep -l __main__ bench/*.py); do echo "# $$each"; .venv/bin/python $$each || exit; done

docs: setup
	.venv/bin/bennu man --format markdown > docs/commands.md

constraints:
	{ sed -n 1p constraints.txt; .venv/bin/python -m pip freeze --exclude-editable | grep -v '^-e'; } > constraints.new
	mv constraints.new constraints.txt
