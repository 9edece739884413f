for (const button of document.querySelectorAll(".lossdoctor .ld-copy[hidden]")) {
  const code = button.parentElement.querySelector("code");
  const say = (word) => {
    button.textContent = word;
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  const select = () => {
    getSelection().selectAllChildren(code);
    say(document.execCommand("copy") ? "Copied" : "Press Ctrl+C");
  };
  button.hidden = false;
  button.setAttribute("aria-live", "polite");
  button.addEventListener("click", () => {
    if (navigator.clipboard) {
      navigator.clipboard.writeText(code.textContent).then(() => say("Copied"), select);
    } else {
      select();
    }
  });
}
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll(".lossdoctor details:not(.ld-about)")) details.open = true;
});
{
  const reveal = () => {
    const linked = document.getElementById(location.hash.slice(1));
    if (linked instanceof HTMLDetailsElement) linked.open = true;
  };
  addEventListener("hashchange", reveal);
  reveal();
}
