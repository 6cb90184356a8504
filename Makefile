# What the targets do, and when to use which, stands in CONTRIBUTING.md.
.PHONY: test race quick lint fuzz bench

test: ; ./scripts/test
race: ; go test -race $(or $(PKG),.) $(if $(RUN),-run "$(RUN)")
quick: ; go test -short ./...
lint: ; ./scripts/test lint
fuzz: ; ./scripts/test fuzz
bench: ; cd bench && go run .
