# Documents, installation, source archive and Debian package. Part of the Makefile.

package := analyzer/package

# Manual pages and completions, laid out as below share/.
documents := $(BUILD)/share.made
$(documents): $(BUILD)/reqscope include/reqscope/trace_format.md $(wildcard $(package)/*.awk $(package)/*.sh \
		$(package)/manual/* $(package)/completion/*)
	$(call say,TEXT,$(BUILD)/share)
	$(Q)$(package)/documents.sh $(BUILD)/reqscope $(BUILD)/share $(VERSION) $(RELEASED)
	@touch $@

# Debian's packages have zsh's elsewhere.
ZSH_COMPLETIONS ?= $(PREFIX)/share/zsh/site-functions

# What stands below PREFIX. The program finds its library and reqscope-place from its own place, by ../lib/reqscope/.
root := $(DESTDIR)$(PREFIX)
installed_libraries := $(addprefix $(root)/lib/reqscope/,reqscope-place $(notdir $(libraries)))
installed_documents := $(root)/share/man/man1/reqscope.1 $(root)/share/man/man1/reqscope-*.1 \
	$(root)/share/man/man5/reqscope-trace.5 $(root)/share/bash-completion/completions/reqscope \
	$(DESTDIR)$(ZSH_COMPLETIONS)/_reqscope $(root)/share/fish/vendor_completions.d/reqscope.fish

install: all ## install below PREFIX (DESTDIR in front)
	install -d $(root)/bin $(root)/lib/reqscope $(sort $(dir $(installed_documents)))
	install -m 755 $(BUILD)/reqscope $(root)/bin/
	install -m 755 $(addprefix $(BUILD)/,reqscope-place $(notdir $(libraries))) $(root)/lib/reqscope/
	install -m 644 $(BUILD)/share/man/man1/* $(root)/share/man/man1/
	install -m 644 $(BUILD)/share/man/man5/* $(root)/share/man/man5/
	install -m 644 $(BUILD)/share/bash-completion/completions/reqscope $(root)/share/bash-completion/completions/
	install -m 644 $(BUILD)/share/zsh/site-functions/_reqscope $(DESTDIR)$(ZSH_COMPLETIONS)/
	install -m 644 $(BUILD)/share/fish/vendor_completions.d/reqscope.fish $(root)/share/fish/vendor_completions.d/

# Folders that are empty then may have been made by install, or not: only our own one goes.
uninstall: ## remove what install put there
	rm -f $(root)/bin/reqscope $(installed_libraries) $(installed_documents)
	-rmdir $(root)/lib/reqscope

dist: ## a source archive of the last commit
	$(Q)mkdir -p $(BUILD)
	git archive --prefix=reqscope-$(VERSION)/ -o $(BUILD)/reqscope-$(VERSION).tar.gz HEAD

deb: ## a Debian package, in build/deb; the same bytes from the same commit everywhere
	$(Q)tests/deps.sh deb
	$(Q)$(package)/deb.sh $(VERSION) $(BUILD)/deb

package-check: ## the package built twice, judged by lintian, and installed, used and removed in a fresh Debian 12; as root
	$(Q)tests/deps.sh check
	$(Q)tests/deps.sh deb
	$(Q)$(BUILD)/venv/bin/python -m pytest -v -rP -c tests/long/pytest.ini tests/long/test_package.py

.PHONY: deb package-check
