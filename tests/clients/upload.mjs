// Uploads with AWS's SDK for JavaScript v3: node upload.mjs ENDPOINT BUCKET PREFIX FILE, in a folder with the SDK.
import { createReadStream, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.cwd(), "package.json"));
const { S3Client, PutObjectCommand } = require("@aws-sdk/client-s3");
const { Upload } = require("@aws-sdk/lib-storage");

const [endpoint, Bucket, prefix, file] = process.argv.slice(2);
const options = {
  endpoint,
  region: "us-east-1",
  forcePathStyle: true,
  maxAttempts: 1,
  credentials: { accessKeyId: "AKIAMADEUP", secretAccessKey: "made-up", sessionToken: "made-up-token" },
};
const client = new S3Client(options);
const older = new S3Client({ ...options, requestChecksumCalculation: "WHEN_REQUIRED" });
const ContentLength = statSync(file).size;

await client.send(new PutObjectCommand({ Bucket, Key: `${prefix}-buffer`, Body: readFileSync(file) }));
await client.send(
  new PutObjectCommand({ Bucket, Key: `${prefix}-stream`, Body: createReadStream(file), ContentLength }),
);
await older.send(new PutObjectCommand({ Bucket, Key: `${prefix}-older`, Body: readFileSync(file) }));
await new Upload({
  client,
  params: { Bucket, Key: `${prefix}-parts`, Body: createReadStream(file) },
  partSize: 5 * 1024 * 1024,
}).done();
console.log("done");
