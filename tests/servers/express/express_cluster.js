// The Express test server in Node's cluster: the primary accepts and passes connections to its workers.
// Usage: node express_cluster.js PORT WORKERS
'use strict';

const cluster = require('node:cluster');

if (cluster.isPrimary) {
  for (let i = 0; i < Number(process.argv[3]); i += 1) cluster.fork();
  process.on('SIGTERM', () => cluster.disconnect(() => process.exit(0)));
} else {
  require('./express_app.js');
}
