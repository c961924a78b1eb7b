import sys, torch
from exp import *
from PIL import Image
state, out, g, *settings = sys.argv[1:]
r, ds, spec, loop = session(settings)
m = loop.state.ema.model; m.load_state_dict(torch.load(state)); m.eval()
lab = torch.arange(80) // 8
with torch.no_grad():
    x = m.sample(80, {'label': lab}, ItemRng(1, range(80), torch.device('cpu')), sampler='shortcut', steps=4, guidance=float(g))['image']
x = ((x.float() + 1) * 127.5).byte().view(10, 8, 28, 28).permute(0, 2, 1, 3).reshape(280, 224)
Image.fromarray(x.numpy()).resize((448, 560)).save(out)
