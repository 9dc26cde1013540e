package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

// forkAll starts children that have more and more of the descriptors' numbers for themselves, those of connections, too.
func forkAll(program string) {
	for count := 0; count < 100; count += 3 {
		files := make([]uintptr, count)
		pid, err := syscall.ForkExec(program, []string{"child"}, &syscall.ProcAttr{Files: files})
		if err == nil {
			syscall.Wait4(pid, nil, 0, nil)
		}
	}
}

// children are started while requests are under way; the pipe between them and us has a number below those of connections.
func children(program string, before func()) {
	low := []*os.File{must(os.Open("/")), must(os.Open("/")), must(os.Open("/"))}
	answers := begin(serve(), 40)
	before()
	for _, file := range low {
		file.Close()
	}
	forkAll(program)
	fmt.Println(answers())
}

// filter forbids nothing but what no Go program does.
func filter() { filterCall(syscall.SYS_GETPPID) }

func filterCall(number uint32) {
	type instruction struct {
		code uint16
		t, f uint8
		k    uint32
	}
	program := []instruction{
		{0x20, 0, 0, 0},                                    // its number
		{0x15, 0, 1, number},                               // is it that?
		{0x06, 0, 0, 0x80000000}, {0x06, 0, 0, 0x7fff0000}, // killed, allowed
	}
	description := struct {
		count   uint16
		program *instruction
	}{uint16(len(program)), &program[0]}
	syscall.AllThreadsSyscall6(syscall.SYS_PRCTL, 38 /* no new privileges */, 1, 0, 0, 0, 0)
	if _, _, errno := syscall.Syscall(317 /* seccomp */, 1, 1, uintptr(unsafe.Pointer(&description))); errno != 0 {
		panic(errno)
	}
}

// traced starts this program as debuggers do, and tells where it stopped.
func traced() {
	runtime.LockOSThread()
	child := exec.Command(must(os.Executable()), "say", "traced")
	child.Stdout = os.Stdout
	child.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	must(0, child.Start())
	for {
		var status syscall.WaitStatus
		must(syscall.Wait4(child.Process.Pid, &status, 0, nil))
		if !status.Stopped() {
			fmt.Println("ended", status.ExitStatus())
			return
		}
		signal := status.StopSignal()
		if signal == syscall.SIGTRAP { // the exec
			fmt.Println(must(os.Readlink(fmt.Sprintf("/proc/%d/exe", child.Process.Pid))))
			signal = 0
		}
		must(0, syscall.PtraceCont(child.Process.Pid, int(signal)))
	}
}

func start(path string, extra ...*os.File) {
	child := exec.Command(path, "say")
	child.Args[0] = "itself"
	child.ExtraFiles = extra
	said, err := child.CombinedOutput()
	fmt.Println(strings.TrimSpace(string(said)), err)
}

func init() {
	cases["failing-exec"] = func() { children("/nonexistent", func() {}) }
	cases["exec-behind-a-filter"] = func() { children("/bin/true", filter) }
	cases["traced"] = traced
	// By names that mean something else in another process.
	cases["itself"] = func() {
		serve()
		own := must(os.Open("/proc/self/exe"))
		start("/proc/self/exe")
		start("/proc/thread-self/exe")
		start(fmt.Sprintf("/proc/%d/exe", os.Getpid()))
		start("/proc/self/fd/3", own)
		start(fmt.Sprintf("/proc/self/fd/%d", own.Fd()))
		start(fmt.Sprintf("/dev/fd/%d", own.Fd()))
		fmt.Println(syscall.Exec("/proc/self/exe", []string{"itself", "say"}, os.Environ()))
	}
	cases["execveat"] = func() {
		serve()
		program := os.Getenv("PROGRAM")
		if program == "" {
			program = "/proc/self/exe"
		}
		words := must(syscall.SlicePtrFromStrings([]string{"itself", "say"}))
		environ := must(syscall.SlicePtrFromStrings(os.Environ()))
		fmt.Println(syscall.Syscall6(322, must(os.Open(program)).Fd(), uintptr(unsafe.Pointer(new(byte))),
			uintptr(unsafe.Pointer(&words[0])), uintptr(unsafe.Pointer(&environ[0])), 0x1000 /* empty path */, 0))
	}
	cases["locked"] = func() {
		serve()
		before := figure("VmRSS")
		must(0, syscall.Mlockall(3 /* all there is, and all to come */))
		fmt.Println(figure("VmLck") > 0, "grown by less than 256 MB:", figure("VmRSS")-before < 256<<10)
	}
}
