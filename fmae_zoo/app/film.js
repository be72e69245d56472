// Shows the frames of a morph, side by side in one picture, one after another; a slider stops it.
// `props.value` is what `film()` in drawing.py returns.
const frame = element.querySelector(".frame");
const slider = element.querySelector("input");
const words = element.querySelector(".caption");
let timer = null;

const show = () => {
  const last = Math.max(1, props.value.count - 1);
  frame.style.backgroundPosition = `${100 * slider.value / last}% 0`;
};
const stop = () => { clearInterval(timer); timer = null; };
function read() {
  stop();
  element.querySelector(".film").hidden = !(props.value && props.value.sprite);
  if (!props.value || !props.value.sprite) return;
  frame.style.backgroundImage = `url(${props.value.sprite})`;
  frame.style.backgroundSize = `${100 * props.value.count}% 100%`;
  words.textContent = props.value.caption;
  frame.setAttribute("aria-label", props.value.caption);
  slider.max = props.value.count - 1;
  slider.value = 0;
  show();
  timer = setInterval(() => {
    slider.value = Number(slider.value) + 1;
    show();
    if (Number(slider.value) >= props.value.count - 1) stop();
  }, 90);
}
slider.addEventListener("input", () => { stop(); show(); });
watch("value", read);
read();
