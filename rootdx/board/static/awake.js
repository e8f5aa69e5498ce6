// Keeps a wall screen on: by a wake lock, or, where the page came over plain http, by a tiny silent moving picture.
export function keepAwake() {
  let lock = null;
  let film = null;
  const ask = async () => {
    try {
      if (navigator.wakeLock) lock = await navigator.wakeLock.request("screen");
      else if (!film) film = playing();
    } catch {
      // the screen's own settings then decide
    }
  };
  const again = () => document.visibilityState === "visible" && ask();
  document.addEventListener("visibilitychange", again);
  ask();
  return () => {
    document.removeEventListener("visibilitychange", again);
    lock?.release();
    film?.();
  };
}

function playing() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 2, height: 2 });
  const brush = canvas.getContext("2d");
  const film = Object.assign(document.createElement("video"), { muted: true, playsInline: true, srcObject: canvas.captureStream(1) });
  const timer = setInterval(() => {
    brush.fillStyle = brush.fillStyle === "#000000" ? "#010101" : "#000000";
    brush.fillRect(0, 0, 2, 2);
  }, 1000);
  film.play().catch(() => {});
  return () => {
    clearInterval(timer);
    film.pause();
  };
}
