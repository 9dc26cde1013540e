// Node's cluster by both of its ways to share a listener, a connection passed by message, and workers that end and come
// again. Prints what it observes, in an order of its own.
"use strict";
const cluster = require("cluster");
const http = require("http");
const net = require("net");

if (!cluster.isPrimary) {
	const server = http.createServer((request, response) => {
		if (request.url === "/end")
			response.on("finish", () => setTimeout(() => process.exit(7), 50));
		response.end(`${request.method} ${request.url}`);
	});
	process.on("message", (message, socket) => {
		if (message === "connection" && socket) {
			server.emit("connection", socket);
			socket.resume();
		}
	});
	server.listen(Number(process.env.PORT), "127.0.0.1", () => process.send("ready"));
	return;
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
let requests = 0;

function get(port, path, options = {}) {
	return new Promise((resolve, reject) => {
		http.get({ host: "127.0.0.1", port, path, agent, ...options }, (response) => {
			let body = "";
			response.on("data", (part) => (body += part));
			response.on("end", () => {
				requests++;
				resolve(`${response.statusCode} ${body}`);
			});
		}).on("error", reject);
	});
}

const ready = (worker) => new Promise((resolve) => worker.once("message", resolve));
const exited = (worker) => new Promise((resolve) => worker.once("exit", (code, signal) => resolve(`${code} ${signal}`)));

async function serve(policy, name, port) {
	cluster.schedulingPolicy = policy;
	cluster.setupPrimary({ exec: __filename });
	const workers = [0, 1].map(() => cluster.fork({ PORT: port }));
	await Promise.all(workers.map(ready));
	const answers = await Promise.all(Array.from({ length: 400 }, (_, i) => get(port, `/n/${i}`)));
	console.log(name, answers.length, new Set(answers).size, answers[399]);

	// One that ends by itself, and one that is replaced.
	const first = exited(workers[0]), second = exited(workers[1]);
	workers[1].kill("SIGKILL");
	console.log(name, "killed", await second);
	console.log(name, await get(port, "/end", { agent: false }));
	console.log(name, "ended", await first);
	const fresh = cluster.fork({ PORT: port });
	await ready(fresh);
	console.log(name, await get(port, "/again", { agent: false }));

	// A connection accepted here and served there.
	const passing = net.createServer({ pauseOnConnect: true }, (socket) => fresh.send("connection", socket));
	await new Promise((resolve) => passing.listen(0, "127.0.0.1", resolve));
	console.log(name, await get(passing.address().port, "/passed", { agent: false }));
	passing.close();
	const left = exited(fresh);
	fresh.disconnect();
	console.log(name, "left", await left);
}

(async () => {
	const port = Number(process.argv[2]);
	await serve(process.argv[3] === "none" ? cluster.SCHED_NONE : cluster.SCHED_RR, process.argv[3], port);
	console.log(`requests: ${requests}, aborted: 0`);
	process.exit(0);
})();
