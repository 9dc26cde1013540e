# reqscope: `make help` lists the targets.
#
#   build/reqscope             the program: run, report, compare, ...
#   build/reqscope-place       what starts Go programs in place of their recorded starters, and becomes them
#   build/libreqscope.so       the agent
#   build/libreqscope-musl.so  the same for programs that use musl; where there is musl-gcc
#   build/bench/*.so           agents with layers left out, baselines for `make bench`

VERSION := 0.1.0
RELEASED := 2026-11-23
PREFIX ?= /usr/local
CC ?= gcc
MUSL_CC ?= $(shell command -v musl-gcc)
PYTHON ?= python3
JOBS ?= $(shell nproc)

SAN ?=
COVERAGE ?=
# Every kind of build has a folder of its own, so that objects never mix.
BUILD ?= build$(if $(SAN),-$(SAN))$(if $(COVERAGE),-coverage)

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n' $(1) $(2)
endif

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla $(WERROR)
CFLAGS ?= -O2 -g
DEFS := -D_GNU_SOURCE -DRQS_VERSION='"$(VERSION)"'
# What is built doesn't depend on the folder that it is built in.
SAME := -ffile-prefix-map='$(CURDIR)'=.
ALL_CFLAGS := -std=gnu11 $(CFLAGS) $(CPPFLAGS) $(WARN) $(DEFS) $(SAME) -Iinclude -fno-strict-aliasing -MMD -MP
LDLIBS := -lzstd -lz -lcjson -lelf -ldw -liberty -lZydis -lunwind-ptrace -lunwind-x86_64 -lunwind -lm -lpthread

ifneq ($(SAN),)
SAN_FLAGS := -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
endif
ifeq ($(COVERAGE),1)
SAN_FLAGS += --coverage -O0
endif

# gcc turns loops into calls of memset in spite of -ffreestanding; clang doesn't, and doesn't know the option.
no_loop_calls := $(if $(findstring clang,$(shell $(CC) --version 2>/dev/null)),,-fno-tree-loop-distribute-patterns)

# The core and the recognisers run where there may be no libc and no TLS. The compiler must not invent calls.
FREESTANDING := -ffreestanding -fno-builtin -fno-stack-protector -fPIC -fvisibility=hidden \
	$(no_loop_calls) -fno-asynchronous-unwind-tables -fcf-protection=none -Iagent
CORE := $(FREESTANDING) -DRQS_FREESTANDING
# The rest of the agent may use libc with care; the host's TLS model is known, as ld.so loads us at the start.
# Libc's checked functions (_FORTIFY_SOURCE) are only in glibc.
HOOK := -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-stack-protector -fno-builtin-malloc \
	-U_FORTIFY_SOURCE -Iagent
PROGRAM := -Iagent -Ianalyzer

core_src := $(wildcard agent/core/*.c agent/proto/*.c)
os_src := $(wildcard agent/os/*.c)
go_src := $(wildcard agent/go/*.c)
hook_src := $(wildcard agent/hook/*.c agent/python/*.c agent/runtime/*.c) $(os_src) $(filter-out %/payload.c,$(go_src))
# All of reqscope-place, and a part of reqscope.
placing_src := $(patsubst %,agent/inject/%.c,placing starter) $(patsubst %,agent/os/%.c,join trial)
placer_src := analyzer/placer.c $(patsubst %,analyzer/cmd/%.c,command place siblings) $(placing_src)
program_src := $(filter-out analyzer/placer.c,$(wildcard agent/inject/*.c agent/collect/*.c agent/unwind/*.c analyzer/*.c analyzer/*/*.c))
program_src += $(filter agent/os/%,$(placing_src)) agent/os/executable.c agent/os/reserve.c
unit_src := $(wildcard tests/unit/test_*.c)

# Sorted: `wildcard` has the order of the locale.
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(1)))
core_obj := $(call obj,$(core_src))
go_entries := $(BUILD)/obj/agent/go/go_entries.o
hook_obj := $(call obj,$(hook_src)) $(go_entries)
program_obj := $(call obj,$(program_src))
program_obj += $(BUILD)/obj/agent/inject/payload_image.o $(BUILD)/obj/analyzer/render/page_assets.o
library_obj := $(filter-out $(BUILD)/obj/analyzer/main.o,$(program_obj))
unit_bin := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(unit_src))

libraries := $(BUILD)/libreqscope.so $(if $(MUSL_CC),$(BUILD)/libreqscope-musl.so)

all: $(BUILD)/reqscope $(BUILD)/reqscope-place $(libraries) $(if $(SAN_FLAGS),,$(BUILD)/share.made) ## build the program and the agent

$(BUILD)/obj/agent/core/%.o $(BUILD)/obj/agent/proto/%.o: KIND = $(CORE)
$(BUILD)/obj/agent/os/%.o $(BUILD)/obj/agent/go/%.o: KIND = $(FREESTANDING)
$(BUILD)/obj/agent/hook/%.o $(BUILD)/obj/agent/python/%.o $(BUILD)/obj/agent/runtime/%.o: KIND = $(HOOK)
$(BUILD)/obj/agent/collect/%.o $(BUILD)/obj/agent/inject/%.o $(BUILD)/obj/agent/unwind/%.o $(BUILD)/obj/analyzer/%.o: KIND = $(PROGRAM) $(SAN_FLAGS)
$(BUILD)/obj/tests/%.o: KIND = $(PROGRAM) $(SAN_FLAGS)
ifneq ($(SAN_FLAGS),)
# Under a sanitizer the core is tested in an ordinary program; the preloaded agent is never instrumented.
$(BUILD)/sanobj/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Iagent $(SAN_FLAGS) -c -o $@ $<
test_core_obj := $(patsubst %.c,$(BUILD)/sanobj/%.o,$(core_src))
else
test_core_obj := $(core_obj)
endif

$(BUILD)/obj/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(KIND) -c -o $@ $<

$(BUILD)/reqscope: $(program_obj)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(SAN_FLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# Static: it needs to start in every environment (placer.c).
$(BUILD)/reqscope-place: $(call obj,$(placer_src))
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(or $(SAN_FLAGS),-static) $(LDFLAGS) -o $@ $^

# What is placed in static Go programs: the core without a libc, as one image without undefined symbols.
payload_obj := $(core_obj) $(call obj,$(os_src) $(go_src)) $(go_entries)

$(BUILD)/payload.so: $(payload_obj)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -nostdlib -Wl,-z,defs,-z,now,-z,noexecstack,-Bsymbolic,--strip-all,--build-id=none \
		-Wl,-soname,payload.so -o $@ $^

$(BUILD)/obj/%.o: %.S
	$(call say,AS,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(DEFS) -MMD -MP $(SAME) -DPAYLOAD='"$(BUILD)/payload.so"' -c -o $@ $<

$(BUILD)/obj/agent/inject/payload_image.o: $(BUILD)/payload.so
$(BUILD)/obj/analyzer/render/page_assets.o: analyzer/render/page.css analyzer/render/page.js

# One rule for the agent and its baselines; AGENT_OBJ says what goes in.
agent_link = $(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,--version-script=agent/hook/exports.map \
	-Wl,-z,now,-z,relro,-z,nodelete -Wl,--hash-style=gnu,--build-id -Wl,-Bsymbolic-functions -o $@ $(filter %.o,$^) $(LIBC)
LIBC := -Wl,-z,defs -ldl

$(BUILD)/libreqscope.so: $(core_obj) $(hook_obj) agent/hook/exports.map
	$(call say,LINK,$@)
	$(Q)$(agent_link)

# For musl, whose loader needs no DT_NEEDED of libc; without one glibc's loader takes the library too (membership.c).
# The kernel's headers come from the machine's own libc.
musl_obj = $(patsubst %.c,$(BUILD)/obj-musl/%.o,$(sort $(core_src) $(hook_src))) $(go_entries)
# Its loader takes no initial-exec TLS by dlopen; where the library comes at the start this one is as quick.
MUSL_TLS := -ftls-model=global-dynamic -mtls-dialect=gnu2
MUSL := -idirafter /usr/include -idirafter /usr/include/$(shell $(CC) -print-multiarch 2>/dev/null)

$(BUILD)/obj-musl/agent/core/%.o $(BUILD)/obj-musl/agent/proto/%.o: KIND = $(CORE)
$(BUILD)/obj-musl/agent/os/%.o $(BUILD)/obj-musl/agent/go/%.o: KIND = $(FREESTANDING)
$(BUILD)/obj-musl/agent/hook/%.o $(BUILD)/obj-musl/agent/python/%.o $(BUILD)/obj-musl/agent/runtime/%.o: \
	KIND = $(HOOK) $(MUSL_TLS)

$(BUILD)/obj-musl/%.o: %.c
	$(call say,MUSLCC,$<)
	@mkdir -p $(@D)
	$(Q)$(MUSL_CC) $(ALL_CFLAGS) $(MUSL) $(KIND) -c -o $@ $<

$(BUILD)/libreqscope-musl.so: CC = $(MUSL_CC)
$(BUILD)/libreqscope-musl.so: LIBC := -nodefaultlibs
$(BUILD)/libreqscope-musl.so: $(musl_obj) agent/hook/exports.map
	$(call say,LINK,$@)
	$(Q)$(agent_link)

# Baselines: hooks that are never switched on; all but the malloc family and what measures Python's requests; all but times.
nop_obj = $(patsubst %,$(BUILD)/obj/agent/hook/nop/%.o,$(1))
$(call nop_obj,nop no_python no_times): KIND = $(HOOK)
$(BUILD)/bench/libreqscope-nop.so: $(core_obj) $(call nop_obj,nop) agent/hook/exports.map \
		$(filter-out %/activate.o %/membership.o %/go_program.o %/attached.o %/got.o %/got_object.o %/got_table.o,$(filter-out $(BUILD)/obj/agent/runtime/%,$(hook_obj)))
$(BUILD)/bench/libreqscope-sockets.so: $(core_obj) $(call nop_obj,no_python) agent/hook/exports.map \
		$(filter-out %/memory.o $(BUILD)/obj/agent/python/%,$(hook_obj))
$(BUILD)/bench/libreqscope-memory.so: $(core_obj) $(call nop_obj,no_times) $(filter-out %/py_times.o,$(hook_obj)) agent/hook/exports.map

baseline_libraries := $(patsubst %,$(BUILD)/bench/libreqscope-%.so,nop sockets memory)
$(baseline_libraries):
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(agent_link)

# An agent looks for the program beside itself.
$(BUILD)/bench/reqscope: $(BUILD)/reqscope
	@mkdir -p $(@D)
	$(Q)ln -sf ../reqscope $@

baselines: $(baseline_libraries) $(BUILD)/bench/reqscope

# ---- tests ----

$(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.o $(library_obj) $(test_core_obj)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(SAN_FLAGS) $(LDFLAGS) -o $@ $^ -lcmocka $(LDLIBS)

# The statistics by themselves, against SciPy's and on simulated servers.
stats_programs := $(addprefix $(BUILD)/stats/,stats_driver stats_simulate)
$(stats_programs): $(BUILD)/stats/%: $(BUILD)/obj/tests/stats/%.o $(library_obj)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(SAN_FLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# Attaching and detaching, and the unwinder, without the commands around them.
attacher := $(addprefix $(BUILD)/attach/,attacher unwinder)
$(attacher): $(BUILD)/attach/%: $(BUILD)/obj/tests/attach/%.o $(library_obj)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(SAN_FLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The program and the core are linked to every unit test; a test of other parts of the agent names its objects here.
agent_test_obj = $(patsubst %,$(BUILD)/$(if $(SAN_FLAGS),sanobj,obj)/agent/%.o,$(1))
$(BUILD)/unit/test_interpreter: $(call agent_test_obj,hook/interpreter)
$(BUILD)/unit/test_environment: $(call agent_test_obj,hook/environment)
# An agent that is quicker than the collector, between two of its steps.
$(BUILD)/unit/test_drain: LDFLAGS += -Wl,--wrap=rqs_region_free_chunk
$(BUILD)/unit/test_adopt: $(call agent_test_obj,os/adopt os/stamps)

# Small servers and the like, for one C library and the other.
c_servers := $(patsubst tests/servers/c/%.c,$(BUILD)/servers/%,$(wildcard tests/servers/c/*.c))
c_servers += $(if $(MUSL_CC),$(addsuffix -musl,$(c_servers)))

# What it loads calls it back; and it has little stack for the linker to resolve calls on.
$(BUILD)/servers/sampled $(BUILD)/servers/sampled-musl: CFLAGS += -rdynamic -Wl,-z,now

$(BUILD)/servers/%-musl: tests/servers/c/%.c $(wildcard tests/servers/c/*.h)
	$(call say,MUSLCC,$<)
	@mkdir -p $(@D)
	$(Q)$(MUSL_CC) -std=gnu11 $(CFLAGS) $(WARN) -D_GNU_SOURCE -o $@ $< -lpthread

$(BUILD)/servers/%: tests/servers/c/%.c $(wildcard tests/servers/c/*.h)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 $(CFLAGS) $(WARN) -D_GNU_SOURCE -o $@ $< -lpthread

unit: $(unit_bin) ## build and run the unit tests alone
	$(Q)tests/run.sh unit $(BUILD)

deps: ## install what is missing from Debian, and the pinned test packages
	$(Q)tests/deps.sh check

check: ## all tests
	$(Q)tests/deps.sh check
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all baselines tested
	$(Q)tests/run.sh all $(BUILD)

# By a make of its own: what can be built depends on what deps.sh has just installed.
tested: $(c_servers) $(unit_bin) $(stats_programs) $(attacher)

demo: ## record two small servers under load and compare them
	$(Q)tests/deps.sh demo
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all
	$(Q)tests/demo.sh

transparency-long: ## CPython's own tests and Node's cluster, with the agent and without
	$(Q)tests/deps.sh check
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(BUILD)/venv/bin/python -m pytest -v -rP tests/long/test_transparency_long.py

python-versions: ## every CPython that can be had, recorded; as root, with debootstrap
	$(Q)tests/deps.sh check
	$(Q)$(MAKE) --no-print-directory all
	$(Q)$(BUILD)/venv/bin/python -m pytest -v -c tests/long/pytest.ini tests/long/test_python_gil.py \
		tests/long/test_python_versions.py

FRESH_SECONDS ?= 5400
fresh: ## make demo and make check in a Debian 12 that is made for it, as root; each within FRESH_SECONDS
	$(Q)FRESH_SECONDS=$(FRESH_SECONDS) tests/long/fresh.sh

SIMULATIONS ?= 10
simulations: ## the statistics on simulated servers, SIMULATIONS times as many as the tests say (make check: half as many)
	$(Q)tests/deps.sh check
	$(Q)$(MAKE) --no-print-directory all $(stats_programs)
	$(Q)RQS_SIMULATIONS=$(SIMULATIONS) $(BUILD)/venv/bin/python -m pytest -q -rP tests/cli/test_stats_simulation.py \
		tests/cli/test_sites_simulation.py tests/cli/test_sites_compare.py

SAME_SECONDS ?= 12
same-server: ## recorded servers compared with themselves: how often a difference is seen that isn't there
	$(Q)tests/deps.sh check
	$(Q)$(MAKE) --no-print-directory all
	$(Q)RQS_SAME_SECONDS=$(SAME_SECONDS) $(BUILD)/venv/bin/python -m pytest -q -rP -c tests/long/pytest.ini \
		tests/long/test_same_server.py

SITES_RUNS ?= 20
sites-long: ## what is estimated of known call sites, SITES_RUNS recordings of each server; and of leaks
	$(Q)tests/deps.sh check
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all $(BUILD)/servers/httpd
	$(Q)RQS_SITES_RUNS=$(SITES_RUNS) $(BUILD)/venv/bin/python -m pytest -q -rP -p no:cacheprovider \
		tests/system/test_sites_known.py

SOAK_SECONDS ?= 600
soak: ## Go servers at full load for SOAK_SECONDS; servers attached to and left 200 times, and attachers killed
	$(Q)tests/deps.sh check
	$(Q)$(MAKE) --no-print-directory all
	$(Q)RQS_SOAK_SECONDS=$(SOAK_SECONDS) $(BUILD)/venv/bin/python -m pytest -q -rP -c tests/long/pytest.ini \
		tests/long/test_soak.py tests/long/test_attach_soak.py tests/long/test_attach_go_kills.py

tour: ## the commands of README.md's tour, run again: what they print goes into it
	$(Q)tests/deps.sh demo
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all
	$(Q)python3 tests/tools/tour.py --write

picture: ## the picture in README.md, made again
	$(Q)tests/deps.sh check
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all
	$(Q)$(BUILD)/venv/bin/python tests/tools/picture.py analyzer/render/compare.png

# Each has a short variant in `make check`.
LOAD_REQUESTS ?= 20000000
LOAD_WORKERS ?= 5000
LOAD_SECONDS ?= 10
load-long: ## 10,000 idle and 1,000 busy connections; LOAD_REQUESTS in one trace; short-lived workers; slow disk; clock steps
	$(Q)tests/deps.sh check
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all $(c_servers)
	$(Q)RQS_LOAD_IDLE=10000 RQS_LOAD_BUSY=1000 RQS_LOAD_REQUESTS=$(LOAD_REQUESTS) RQS_LOAD_WORKERS=$(LOAD_WORKERS) \
		RQS_LOAD_GUNICORN=200 RQS_LOAD_SECONDS=$(LOAD_SECONDS) RQS_LOAD_SERVERS="httpd nginx gin express flask-gthread" \
		$(BUILD)/venv/bin/python -m pytest -v -rP -p no:cacheprovider $(wildcard tests/system/test_load_*.py) \
		tests/system/test_clock_steps.py

bench: ## measure what recording costs, in alternated pairs
	$(Q)tests/deps.sh bench
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all baselines $(addprefix $(BUILD)/bench/,gen_trace toggle request_path)
	$(Q)$(BUILD)/bench/request_path
	$(Q)$(BUILD)/venv/bin/python tests/bench/bench.py

bench-peers: ## measure reqscope, the tools one would pick instead, and nothing, in alternated turns; PEERS_OPTIONS
	$(Q)tests/deps.sh peers
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all baselines $(BUILD)/bench/toggle
	$(Q)$(BUILD)/venv/bin/python tests/bench/peers.py $(PEERS_OPTIONS)

$(BUILD)/bench/gen_trace $(BUILD)/bench/toggle: $(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(library_obj)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(SAN_FLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The agent's own part of a request, in a program of its own.
$(BUILD)/bench/request_path: $(BUILD)/obj/tests/bench/request_path.o $(sort $(library_obj) $(core_obj) \
		$(call obj,$(os_src) $(filter-out %/payload.c %/entries.c,$(go_src))))
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(SAN_FLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

TABLE ?=
QUESTIONS ?=
table: ## seven frameworks side by side, and three questions: some 30 minutes (TABLE, QUESTIONS: options of tests/bench/table.py, questions.py)
	$(Q)tests/deps.sh check
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all $(BUILD)/servers/httpd
	$(Q)$(BUILD)/venv/bin/python tests/bench/table.py $(TABLE); status=$$?; \
		$(BUILD)/venv/bin/python tests/bench/questions.py $(QUESTIONS) || status=1; exit $$status

SPARK_REQUESTS ?= 6000000
spark: ## many hosts' requests by Spark and DuckDB, and SPARK_REQUESTS more: percentiles as merge's, time and memory
	$(Q)tests/deps.sh spark
	$(Q)$(MAKE) -j$(JOBS) --no-print-directory all $(BUILD)/bench/gen_trace
	$(Q)RQS_SPARK_REQUESTS=$(SPARK_REQUESTS) $(BUILD)/venv/bin/python -m pytest -q -rP -c tests/long/pytest.ini \
		tests/long/test_many_hosts_spark.py

FAULT_ROUNDS ?= 40
faults: all ## kill server, worker and collector FAULT_ROUNDS times each (five kinds)
	$(Q)tests/deps.sh check
	$(Q)RQS_FAULT_ROUNDS=$(FAULT_ROUNDS) $(BUILD)/venv/bin/python -m pytest -q -p no:cacheprovider tests/system/test_faults.py

# ---- fuzzing ----

FUZZ_SECONDS ?= 600
fuzz_names := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

fuzz: ## fuzz every target for FUZZ_SECONDS with libFuzzer, ASan and UBSan
	$(Q)tests/deps.sh fuzz
	$(Q)for name in $(fuzz_names); do tests/fuzz/run.sh $$name $(FUZZ_SECONDS) || exit 1; done

# ---- the rest ----

format: ## clang-format all C files
	$(Q)clang-format -i $$(git ls-files '*.c' '*.h')

include analyzer/package/package.mk

clean: ## remove the build folders
	rm -rf build build-*

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile $(package)/package.mk | expand -t 26
	@echo '  SAN=address|undefined|thread, COVERAGE=1: kinds of build, each in a folder of its own; V=1: show commands'

# Objects of tests are made on the way to their programs; keep them.
.SECONDARY:

.PHONY: all unit deps check demo table transparency-long python-versions fresh simulations same-server sites-long soak load-long picture bench bench-peers spark baselines tested faults fuzz format install uninstall dist clean help

-include $(shell find $(BUILD)/obj $(BUILD)/obj-musl $(BUILD)/sanobj -name '*.d' 2>/dev/null)
