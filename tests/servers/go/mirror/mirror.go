// Mirror is no server: it prints, as one line of JSON, what a process can see of itself, and then does what its
// arguments say.
//
//	mirror [ARGUMENT...] [exit N | kill N | wait]
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

func read(name string) string {
	bytes, _ := os.ReadFile(name)
	return string(bytes)
}

func status() map[string]string {
	fields := map[string]string{}
	for _, line := range strings.Split(read("/proc/self/status"), "\n") {
		if name, value, found := strings.Cut(line, ":"); found {
			fields[name] = strings.TrimSpace(value)
		}
	}
	return fields
}

// Descriptors as they were before this program opened any of its own: the runtime's are left out, as are ours.
func descriptors() map[string]string {
	found := map[string]string{}
	for fd := 0; fd < 2048; fd++ {
		link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil || strings.HasPrefix(link, "anon_inode:") || strings.HasPrefix(link, "/sys/fs/cgroup") {
			continue
		}
		found[strconv.Itoa(fd)] = link
	}
	return found
}

func writableCode() []string {
	found := []string{}
	for _, line := range strings.Split(read("/proc/self/maps"), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && strings.Contains(fields[1], "wx") {
			found = append(found, line)
		}
	}
	return found
}

func children() string {
	var all []string
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		all = append(all, strings.Fields(read(task))...)
	}
	return strings.Join(all, " ")
}

// Whether it gets its descendants' orphans.
func adopts() bool {
	var value int32
	_, _, errno := syscall.Syscall(syscall.SYS_PRCTL, 37, uintptr(unsafe.Pointer(&value)), 0) // PR_GET_CHILD_SUBREAPER
	return errno == 0 && value != 0
}

func look() map[string]any {
	seen := status()
	exe, _ := os.Readlink("/proc/self/exe")
	cwd, _ := os.Getwd()
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return map[string]any{
		"pid": os.Getpid(), "ppid": os.Getppid(), "comm": seen["Name"], "cmdline": read("/proc/self/cmdline"),
		"args": os.Args, "exe": exe, "cwd": cwd, "environ": os.Environ(), "tracer": seen["TracerPid"],
		"blocked": seen["SigBlk"], "ignored": seen["SigIgn"], "pending": seen["SigPnd"] + seen["ShdPnd"],
		"uids": seen["Uid"], "capabilities": seen["CapEff"], "no_new_privs": seen["NoNewPrivs"], "files": limit.Cur,
		"descriptors": descriptors(), "writable_code": writableCode(), "children": children(),
		"adopts": adopts(),
		"placed": strings.Contains(read("/proc/self/maps"), "memfd:reqscope"),
	}
}

func main() {
	seen, err := json.Marshal(look())
	if err != nil {
		panic(err)
	}
	fmt.Println(string(seen))
	for i, word := range os.Args {
		switch word {
		case "exit", "kill":
			number, _ := strconv.Atoi(os.Args[i+1])
			if word == "exit" {
				os.Exit(number)
			}
			syscall.Kill(os.Getpid(), syscall.Signal(number))
			select {}
		case "wait":
			io.Copy(io.Discard, os.Stdin)
		}
	}
}
