// Judges signatures with the Standard Webhooks library for JavaScript: one JSON object a line in, one a line out.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

for await (const line of createInterface({ input: process.stdin })) {
  const it = JSON.parse(line);
  const problems = [];
  try {
    new Webhook(it.secret).verify(Buffer.from(it.body, "base64").toString("utf8"), it.headers);
  } catch (error) {
    problems.push(`${error.name}: ${error.message}`);
  }
  console.log(JSON.stringify({ problems }));
}
