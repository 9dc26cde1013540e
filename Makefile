# reqscope: `make help` lists the targets.
#
#   build/reqscope             the program: run, report, compare, ...
#   build/libreqscope.so       the agent
#   build/bench/*.so           agents with layers left out, baselines for `make bench`

VERSION := 0.1.0
PREFIX ?= /usr/local
CC ?= gcc
PYTHON ?= python3

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
ALL_CFLAGS := -std=gnu11 $(CFLAGS) $(WARN) $(DEFS) -Iinclude -fno-strict-aliasing -MMD -MP
LDLIBS := -lzstd -lcjson -lm -lpthread

ifneq ($(SAN),)
SAN_FLAGS := -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
endif
ifeq ($(COVERAGE),1)
SAN_FLAGS += --coverage -O0
endif

# The core and the recognisers run where there may be no libc and no TLS. The compiler must not invent calls.
FREESTANDING := -ffreestanding -fno-builtin -fno-stack-protector -fPIC -fvisibility=hidden \
	-fno-tree-loop-distribute-patterns -fno-asynchronous-unwind-tables -fcf-protection=none -Iagent -DRQS_FREESTANDING
# The rest of the agent may use libc with care; the host's TLS model is known, as ld.so loads us at the start.
HOOK := -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-stack-protector -fno-builtin-malloc -Iagent
PROGRAM := -Iagent -Ianalyzer

core_src := $(wildcard agent/core/*.c agent/proto/*.c)
hook_src := $(wildcard agent/hook/*.c agent/runtime/*.c)
program_src := $(wildcard agent/collect/*.c analyzer/*.c analyzer/*/*.c)
unit_src := $(wildcard tests/unit/test_*.c)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
core_obj := $(call obj,$(core_src))
hook_obj := $(call obj,$(hook_src))
program_obj := $(call obj,$(program_src))
library_obj := $(filter-out $(BUILD)/obj/analyzer/main.o,$(program_obj))
unit_bin := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(unit_src))

all: $(BUILD)/reqscope $(BUILD)/libreqscope.so ## build the program and the agent

$(BUILD)/obj/agent/core/%.o $(BUILD)/obj/agent/proto/%.o: KIND = $(FREESTANDING)
$(BUILD)/obj/agent/hook/%.o $(BUILD)/obj/agent/runtime/%.o: KIND = $(HOOK)
$(BUILD)/obj/agent/collect/%.o $(BUILD)/obj/analyzer/%.o: KIND = $(PROGRAM) $(SAN_FLAGS)
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

# One rule for the agent and its baselines; AGENT_OBJ says what goes in.
agent_link = $(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,--version-script=agent/hook/exports.map \
	-Wl,-z,now,-z,relro,-z,defs,-z,nodelete -Wl,--hash-style=gnu -o $@ $(filter %.o,$^) -ldl

$(BUILD)/libreqscope.so: $(core_obj) $(hook_obj) agent/hook/exports.map
	$(call say,LINK,$@)
	$(Q)$(agent_link)

-include Makefile.local

clean: ## remove the build folders
	rm -rf build build-*

.PHONY: all clean
