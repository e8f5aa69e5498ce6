// A browser on a bare Linux says "en-US@posix", which Intl, and with it uPlot, refuses.
try {
  Intl.getCanonicalLocales(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: navigator.language.split(/[@.]/)[0].replace("_", "-"), configurable: true });
}
