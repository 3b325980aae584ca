#!/usr/bin/env node
// forge asks a native solc for two things only; the npm package answers both without a download.
const solc = require("../node_modules/solc");
if (process.argv.includes("--version")) console.log(`solc, the solidity compiler\nVersion: ${solc.version().replace(".Emscripten.clang", ".Linux.g++")}`);
else process.stdout.write(solc.compile(require("fs").readFileSync(0, "utf8")));
