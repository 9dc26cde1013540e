// A Go server with threads of C's in it, which wait in epoll, call Go back, and begin and end. It prints its port, and
// when its standard input ends, how often a wait was interrupted.
package main

/*
#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

extern void allocateForC(int n);

static int interrupted;

static void *wait_always(void *argument)
{
	struct epoll_event event;
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	for (;;)
		if (epoll_wait(epoll, &event, 1, 300) < 0 && errno == EINTR)
			__atomic_add_fetch(&interrupted, 1, __ATOMIC_RELAXED);
	return argument;
}

static void *call_back(void *argument)
{
	allocateForC(100);
	return argument;
}

static void *begin_and_end(void *argument)
{
	pthread_t thread;

	for (;;) {
		if (!pthread_create(&thread, NULL, call_back, NULL))
			pthread_join(thread, NULL);
		usleep(500);
	}
	return argument;
}

static void begin_threads(void)
{
	pthread_t thread;

	for (int i = 0; i < 3; i++)
		pthread_create(&thread, NULL, wait_always, NULL);
	pthread_create(&thread, NULL, begin_and_end, NULL);
}

static int how_often(void)
{
	return __atomic_load_n(&interrupted, __ATOMIC_RELAXED);
}
*/
import "C"

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

var last []byte

//export allocateForC
func allocateForC(n C.int) {
	last = make([]byte, int(n))
}

func main() {
	C.begin_threads()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") }))
	io.Copy(io.Discard, os.Stdin)
	fmt.Println("interrupted", C.how_often())
}
