import { defaultClientConditions, defineConfig } from "vite";

// Built into the package, from where `tonetransfer export --format web` copies it; ONNX Runtime's own two files lie beside it in ort/.
export default defineConfig({
  base: "./",
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", ...defaultClientConditions] },
  worker: { format: "es" },
  server: { fs: { allow: [".."] } },
  build: {
    outDir: "../tonetransfer/export/site",
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    assetsInlineLimit: 0, // the page's policy allows no data: addresses
    modulePreload: { polyfill: false },
  },
});
